// The first step of an enrolment: the key pair is made here, its public half is certified, and the pair leaves this page
// only as the PKCS#12 file that the person saves.

import { offerFile, onSubmit, post, say } from "./api.js";
import { certificateRequest, newKeyPair } from "./csr.js";
import { newPassphrase, pkcs12 } from "./pkcs12.js";

const form = document.getElementById("enrol");
const result = document.getElementById("result");
const invitation = form.elements.token;

// The invitation stands in the fragment, which browsers do not send; it leaves the address bar and the history at once.
if (location.hash.length > 1) {
  invitation.value = decodeURIComponent(location.hash.slice(1));
  history.replaceState(null, "", location.pathname + location.search);
}

for (const link of document.querySelectorAll("a[data-lang]")) {
  link.addEventListener("click", () => {
    if (invitation.value) link.hash = encodeURIComponent(invitation.value);
  });
}

onSubmit(form, async (data) => {
  const pair = await newKeyPair();
  const issued = await post("/api/v1/enrol", { token: data.get("token").trim(), csr: await certificateRequest(pair) });
  const passphrase = newPassphrase();
  const file = await pkcs12({ privateKey: pair.privateKey, chainPEM: issued.chain, name: issued.person, passphrase });
  show(issued, passphrase, file);
});

function show(issued, passphrase, file) {
  document.getElementById("person").textContent = issued.person;
  document.getElementById("vendor").textContent = issued.vendor;
  document.getElementById("until").textContent = new Date(issued.not_after).toLocaleString(document.documentElement.lang);
  document.getElementById("passphrase").textContent = passphrase;
  offerFile(document.getElementById("file"), `sekisho-${issued.person}.p12`, "application/x-pkcs12", file);
  say("");
  form.hidden = true;
  result.hidden = false;
  result.querySelector("h2").focus();
}
