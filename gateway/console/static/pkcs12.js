// A PKCS#12 file (RFC 7292) made in the page, so that the private key never leaves it except in this file: both bags
// under PBES2 (PBKDF2-HMAC-SHA256, AES-256-CBC), integrity by the classic HMAC-SHA256 MAC that every importer knows.

import {
  bmpString, bytes, explicit, fromPEM, implicitOctets, integer, nothing, octets, oid, sequence, set, utf16,
} from "./der.js";

const ids = {
  data: "1.2.840.113549.1.7.1",
  encryptedData: "1.2.840.113549.1.7.6",
  shroudedKeyBag: "1.2.840.113549.1.12.10.1.2",
  certBag: "1.2.840.113549.1.12.10.1.3",
  x509Certificate: "1.2.840.113549.1.9.22.1",
  friendlyName: "1.2.840.113549.1.9.20",
  localKeyID: "1.2.840.113549.1.9.21",
  pbes2: "1.2.840.113549.1.5.13",
  pbkdf2: "1.2.840.113549.1.5.12",
  hmacSHA256: "1.2.840.113549.2.9",
  aes256CBC: "2.16.840.1.101.3.4.1.42",
  sha256: "2.16.840.1.101.3.4.2.1",
};

const encryptionRounds = 100_000;
const macRounds = 2_048;

const random = (n) => crypto.getRandomValues(new Uint8Array(n));
const sha256 = async (data) => new Uint8Array(await crypto.subtle.digest("SHA-256", data));

// newPassphrase has 20 characters (99 bits) of an alphabet without look-alikes.
export function newPassphrase() {
  const alphabet = "abcdefghjkmnpqrstuvwxyz23456789";
  const letters = [];
  while (letters.length < 20) {
    const [b] = random(1);
    if (b < alphabet.length * 8) letters.push(alphabet[b % alphabet.length]);
  }
  return letters.join("").match(/.{5}/g).join("-");
}

// encrypt returns the AlgorithmIdentifier and the ciphertext of RFC 8018 PBES2.
async function encrypt(passphrase, plain) {
  const salt = random(16);
  const iv = random(16);
  const base = await crypto.subtle.importKey("raw", new TextEncoder().encode(passphrase), "PBKDF2", false, ["deriveKey"]);
  const key = await crypto.subtle.deriveKey(
    { name: "PBKDF2", salt, iterations: encryptionRounds, hash: "SHA-256" },
    base, { name: "AES-CBC", length: 256 }, false, ["encrypt"],
  );
  const text = new Uint8Array(await crypto.subtle.encrypt({ name: "AES-CBC", iv }, key, plain));
  const derivation = sequence(
    oid(ids.pbkdf2),
    sequence(octets(salt), integer(encryptionRounds), integer(32), sequence(oid(ids.hmacSHA256), nothing())),
  );
  const algorithm = sequence(oid(ids.pbes2), sequence(derivation, sequence(oid(ids.aes256CBC), octets(iv))));
  return { algorithm, text };
}

// macKey is the derivation of RFC 7292 appendix B with SHA-256 (u = 32, v = 64) and ID 3.
async function macKey(passphrase, salt) {
  const v = 64;
  const fill = (data) => {
    const filled = new Uint8Array(v * Math.ceil(data.length / v));
    for (let i = 0; i < filled.length; i++) filled[i] = data[i % data.length];
    return filled;
  };
  let block = bytes(new Uint8Array(v).fill(3), fill(salt), fill(utf16(passphrase + "\0")));
  for (let round = 0; round < macRounds; round++) block = await sha256(block);
  return block;
}

function attribute(id, value) {
  return sequence(oid(id), set(value));
}

async function keyBag(passphrase, pkcs8, name, keyID) {
  const { algorithm, text } = await encrypt(passphrase, pkcs8);
  return sequence(
    oid(ids.shroudedKeyBag),
    explicit(0, sequence(algorithm, octets(text))),
    set(attribute(ids.friendlyName, bmpString(name)), attribute(ids.localKeyID, octets(keyID))),
  );
}

function certificateBag(der, ...attributes) {
  const value = sequence(oid(ids.x509Certificate), explicit(0, octets(der)));
  const parts = [oid(ids.certBag), explicit(0, value)];
  if (attributes.length > 0) parts.push(set(...attributes));
  return sequence(...parts);
}

async function encryptedContent(passphrase, plain) {
  const { algorithm, text } = await encrypt(passphrase, plain);
  const info = sequence(oid(ids.data), algorithm, implicitOctets(0, text));
  return sequence(oid(ids.encryptedData), explicit(0, sequence(integer(0), info)));
}

const plainContent = (content) => sequence(oid(ids.data), explicit(0, octets(content)));

// pkcs12 packs a private key with its certificate chain (PEM, the key's own certificate first).
export async function pkcs12({ privateKey, chainPEM, name, passphrase }) {
  const [own, ...authorities] = fromPEM(chainPEM);
  const keyID = (await sha256(own)).slice(0, 20);
  const pkcs8 = new Uint8Array(await crypto.subtle.exportKey("pkcs8", privateKey));
  const certificates = sequence(
    certificateBag(own, attribute(ids.friendlyName, bmpString(name)), attribute(ids.localKeyID, octets(keyID))),
    ...authorities.map((der) => certificateBag(der)),
  );
  const safe = sequence(
    await encryptedContent(passphrase, certificates),
    plainContent(sequence(await keyBag(passphrase, pkcs8, name, keyID))),
  );

  const salt = random(16);
  const key = await crypto.subtle.importKey(
    "raw", await macKey(passphrase, salt), { name: "HMAC", hash: "SHA-256" }, false, ["sign"],
  );
  const digest = new Uint8Array(await crypto.subtle.sign("HMAC", key, safe));
  const mac = sequence(
    sequence(sequence(oid(ids.sha256), nothing()), octets(digest)), octets(salt), integer(macRounds),
  );
  return sequence(integer(3), plainContent(safe), mac);
}
