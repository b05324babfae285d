// The browser's half of WebAuthn ceremonies.

import { post } from "./api.js";

export async function create(options) {
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options);
  return (await navigator.credentials.create({ publicKey })).toJSON();
}

export async function get(options) {
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
  return (await navigator.credentials.get({ publicKey })).toJSON();
}

// prove has the person confirm one act with their authenticator; what names the act, and the challenge is bound to it.
export async function prove(what) {
  const { ceremony, options } = await post("/api/v1/login/begin", what);
  return { ceremony, response: await get(options) };
}
