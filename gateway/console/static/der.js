// DER (X.690) written by hand: just what a certificate request and a PKCS#12 file need.

const utf8 = new TextEncoder();

// bytes joins byte arrays.
export function bytes(...parts) {
  const joined = new Uint8Array(parts.reduce((n, part) => n + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

function length(n) {
  if (n < 0x80) return Uint8Array.of(n);
  const digits = [];
  for (; n > 0; n = Math.floor(n / 256)) digits.unshift(n % 256);
  return Uint8Array.of(0x80 | digits.length, ...digits);
}

function tagged(tag, content) {
  return bytes(Uint8Array.of(tag), length(content.length), content);
}

export const sequence = (...parts) => tagged(0x30, bytes(...parts));
export const set = (...parts) => tagged(0x31, bytes(...parts));
export const octets = (content) => tagged(0x04, content);
export const bits = (content) => tagged(0x03, bytes(Uint8Array.of(0), content));
export const nothing = () => Uint8Array.of(0x05, 0x00);

// explicit wraps content in the constructed context tag [n]; implicitOctets replaces an OCTET STRING's tag by [n].
export const explicit = (n, content) => tagged(0xa0 | n, content);
export const implicitOctets = (n, content) => tagged(0x80 | n, content);

// integer writes an unsigned number: a small JS number or big-endian bytes.
export function integer(value) {
  let digits = value;
  if (typeof value === "number") {
    digits = [];
    for (let n = value; n > 0; n = Math.floor(n / 256)) digits.unshift(n % 256);
  }
  let start = 0;
  while (start < digits.length && digits[start] === 0) start++;
  digits = Uint8Array.from(digits.slice(start));
  if (digits.length === 0 || digits[0] >= 0x80) digits = bytes(Uint8Array.of(0), digits);
  return tagged(0x02, digits);
}

// oid writes "1.2.840.…".
export function oid(dotted) {
  const [first, second, ...rest] = dotted.split(".").map(Number);
  const content = [];
  for (const arc of [first * 40 + second, ...rest]) {
    const groups = [arc % 128];
    for (let n = Math.floor(arc / 128); n > 0; n = Math.floor(n / 128)) groups.unshift(0x80 | (n % 128));
    content.push(...groups);
  }
  return tagged(0x06, Uint8Array.from(content));
}

// utf16 is the big-endian form that PKCS#12 wants for names and passwords.
export function utf16(text) {
  const content = new Uint8Array(text.length * 2);
  for (let i = 0; i < text.length; i++) {
    content[2 * i] = text.charCodeAt(i) >> 8;
    content[2 * i + 1] = text.charCodeAt(i) & 0xff;
  }
  return content;
}

export const bmpString = (text) => tagged(0x1e, utf16(text));
export const utf8String = (text) => tagged(0x0c, utf8.encode(text));

// pem writes a block; fromPEM reads every block of a text.
export function pem(label, der) {
  let binary = "";
  for (const b of der) binary += String.fromCharCode(b);
  const lines = btoa(binary).match(/.{1,64}/g).join("\n");
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`;
}

export function fromPEM(text) {
  const blocks = text.matchAll(/-----BEGIN [A-Z ]+-----([A-Za-z0-9+/=\s]+)-----END [A-Z ]+-----/g);
  return Array.from(blocks, (block) => Uint8Array.from(atob(block[1].replace(/\s/g, "")), (c) => c.charCodeAt(0)));
}
