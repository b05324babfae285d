import { onSubmit, post } from "./api.js";
import { create } from "./webauthn.js";

onSubmit(document.getElementById("register"), async () => {
  const { ceremony, options } = await post("/api/v1/registration/begin", {});
  await post("/api/v1/registration/finish", { ceremony, response: await create(options) });
  location.reload();
});

onSubmit(document.getElementById("key"), async (data) => {
  await post("/api/v1/ssh/keys", { public_key: data.get("public_key") });
  location.reload();
});
