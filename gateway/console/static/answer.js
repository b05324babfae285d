// Answering a request: the authenticator confirms exactly the answer that is sent, to the request as the page showed it.

import { onSubmit, post, say } from "./api.js";
import { prove } from "./webauthn.js";

const form = document.getElementById("answer");

onSubmit(form, async (data) => {
  const { request, digest } = form.dataset;
  const approve = data.get("answer") === "approve";
  const answer = { answer: data.get("answer"), digest, reason: data.get("reason").trim() };
  if (approve) {
    answer.minutes = Number(data.get("minutes"));
    answer.scopes = [...form.querySelectorAll("[data-right]")]
      .filter((scope) => scope.querySelector("input[type=checkbox]").checked)
      .map((scope) => ({ right: scope.dataset.right, pattern: scope.querySelector("input[type=text]").value }));
  }
  const proof = await prove({ purpose: "request.answer", id: request, answer });
  await post(`/api/v1/requests/${encodeURIComponent(request)}/answer`, { ...proof, answer });
  say(form.dataset.done, "good");
  location.assign(`/requests/${encodeURIComponent(request)}?done=${approve ? "approved" : "denied"}`);
});
