import { offerFile, onSubmit, post, say } from "./api.js";
import { prove } from "./webauthn.js";

onSubmit(document.getElementById("key"), async (data) => {
  const key = { public_key: data.get("public_key") };
  const proof = await prove({ purpose: "ssh.key", ...key });
  await post("/api/v1/ssh/keys", { ...key, ...proof });
  location.reload();
});

for (const form of document.querySelectorAll("form.issue")) {
  onSubmit(form, async () => {
    const { fingerprint } = form.dataset;
    const proof = await prove({ purpose: "ssh.certificate", fingerprint });
    const issued = await post("/api/v1/ssh/certificates", { fingerprint, ...proof });
    const link = form.querySelector("a[download]");
    offerFile(link, link.dataset.name, "text/plain", issued.certificate);
    link.hidden = false;
    link.click();
    say(form.dataset.done, "good");
  });
}
