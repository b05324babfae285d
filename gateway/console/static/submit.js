// Sends the one form of a page that only passes somebody on.
document.getElementById("onward").requestSubmit();
