// Deletes an order and shows whatever refused it: the app, or the gateway before it.
"use strict";
const message = document.getElementById("message");

async function refusal(response) {
  const text = await response.text();
  try {
    const body = JSON.parse(text);
    const tables = (body.tables || []).join(", ");
    return [
      body.title || body.error,
      body.detail,
      body.right && body.right + (tables && " (" + tables + ")"),
      body.decision,
      body.request,
    ].filter(Boolean).join("\n");
  } catch {
    return text.slice(0, 500);
  }
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-delete]");
  if (!button) return;
  button.disabled = true;
  message.textContent = "";
  try {
    const response = await fetch("/api/orders/" + button.dataset.delete, {
      method: "DELETE",
      headers: { Accept: "application/json" },
    });
    if (response.ok) {
      document.getElementById("order-" + button.dataset.delete).remove();
      return;
    }
    message.textContent = response.status + " " + (await refusal(response));
  } catch (error) {
    message.textContent = String(error);
  }
  button.disabled = false;
});
