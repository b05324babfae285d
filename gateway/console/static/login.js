import { onSubmit, post } from "./api.js";
import { prove } from "./webauthn.js";

const form = document.getElementById("login");

onSubmit(form, async () => {
  const proof = await prove({ purpose: "login" });
  await post("/api/v1/login/finish", { ...proof, cookie: true });
  location.replace(form.dataset.next);
});
