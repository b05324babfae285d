// Calls of the JSON API and what a page says about them.

// Problem is an application/problem+json answer; its message is meant for the person.
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || String(status));
    this.status = status;
    this.decision = body.decision;
  }
}

export async function post(path, body) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "application/json" },
    body: JSON.stringify(body),
  });
  const text = await answer.text();
  let parsed = {};
  try {
    parsed = text ? JSON.parse(text) : {};
  } catch {
    parsed = { title: answer.statusText };
  }
  if (!answer.ok) throw new Problem(answer.status, parsed);
  return parsed;
}

const line = document.getElementById("say");

// say puts one line where a screen reader announces it; kind is "", "good" or "bad".
export function say(text, kind = "") {
  line.textContent = text;
  line.className = kind ? `say ${kind}` : "say";
  if (text) line.scrollIntoView({ block: "nearest" });
}

export function sayError(err) {
  if (err instanceof Problem) {
    say(err.decision ? `${err.message}\n${err.decision}` : err.message, "bad");
  } else if (err instanceof DOMException) {
    say(line.dataset.cancelled, "bad");
  } else {
    console.error(err);
    say(line.dataset.network, "bad");
  }
}

// onSubmit runs act for a form, one at a time, with its buttons off while it runs. act is given what the form holds, the
// button that was pressed included.
export function onSubmit(form, act) {
  form?.addEventListener("submit", async (event) => {
    event.preventDefault();
    const buttons = form.querySelectorAll("button[type=submit]");
    if (buttons[0].disabled) return;
    const data = new FormData(form, event.submitter);
    for (const button of buttons) button.disabled = true;
    say(line.dataset.working);
    try {
      await act(data);
    } catch (err) {
      sayError(err);
    } finally {
      for (const button of buttons) button.disabled = false;
    }
  });
}

// offerFile turns a link into the download of content made in the page.
export function offerFile(link, name, type, content) {
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name;
}
