// Declaring an emergency: the hardware key confirms exactly what the form says, or what a command line waits with.

import { offerFile, onSubmit, post, say } from "./api.js";
import { get } from "./webauthn.js";

const form = document.getElementById("declare");

function declaration(data) {
  const { waiting } = form.dataset;
  if (waiting) return { waiting, code: data.get("code").trim() };
  return {
    reason: data.get("reason").trim(),
    incident: data.get("incident").trim(),
    minutes: Number(data.get("minutes")),
    targets: data.getAll("targets"),
    public_key: data.get("public_key").trim(),
  };
}

onSubmit(form, async (data) => {
  const { ceremony, options } = await post("/api/v1/break-glass/begin", declaration(data));
  const proof = { ceremony, response: await get(options) };
  const declared = await post("/api/v1/break-glass/declare", { ...proof, cookie: true });
  form.hidden = true;
  say(`${form.dataset.done}\n${declared.emergency.id}`, "bad");
  if (!declared.certificate) return;
  document.getElementById("certificate").textContent = declared.certificate.certificate;
  offerFile(document.getElementById("certificate-file"), "id_ed25519-cert.pub", "text/plain", declared.certificate.certificate);
  document.getElementById("declared").hidden = false;
});

const end = document.getElementById("end");

onSubmit(end, async (data) => {
  await post(`/api/v1/break-glass/${encodeURIComponent(end.dataset.emergency)}/end`, { reason: data.get("reason").trim() });
  end.hidden = true;
  say(end.dataset.done, "good");
});
