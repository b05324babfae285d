// A PKCS#10 request (RFC 2986) for a P-256 key that WebCrypto made. The subject is empty: whom the certificate is for
// stands in the invitation, not in the request.

import { bits, bytes, explicit, integer, oid, pem, sequence } from "./der.js";

const ecdsa = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const ecdsaWithSHA256 = "1.2.840.10045.4.3.2";

export function newKeyPair() {
  return crypto.subtle.generateKey(ecdsa, true, ["sign", "verify"]);
}

export async function certificateRequest(pair) {
  const spki = new Uint8Array(await crypto.subtle.exportKey("spki", pair.publicKey));
  const info = sequence(integer(0), sequence(), spki, explicit(0, bytes()));
  const raw = new Uint8Array(await crypto.subtle.sign(ecdsa, pair.privateKey, info));
  const signature = sequence(integer(raw.slice(0, 32)), integer(raw.slice(32)));
  return pem("CERTIFICATE REQUEST", sequence(info, sequence(oid(ecdsaWithSHA256)), bits(signature)));
}
