// Approving a login that waits elsewhere: the typed code is checked first, then the authenticator confirms exactly that
// login.

import { onSubmit, post, say } from "./api.js";
import { prove } from "./webauthn.js";

const form = document.getElementById("approve");

onSubmit(form, async (data) => {
  const { purpose, login, path, done } = form.dataset;
  const code = data.get("code").trim();
  const proof = await prove({ purpose, id: login, code });
  await post(path, { ...proof, code });
  form.hidden = true;
  say(done, "good");
});
