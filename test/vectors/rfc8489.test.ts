import {
  attribute,
  decodeMessage,
  encodeMessage,
  getAttribute,
  longTermKey,
  nonce,
  opaqueString,
  passwordAlgorithm,
  passwordAlgorithmNumbers,
  realm,
  userhash,
  userhashOf,
  verifyIntegrity,
} from "@turnpike/stun";
import { nodeCrypto } from "@turnpike/stun/node";
import { expect, test } from "vitest";

/**
 * RFC 8489 §B.1 as corrected by erratum 6268: the printed one lacks the PASSWORD-ALGORITHM that a request with
 * USERHASH must carry, and its length and HMAC are wrong.
 */
const REQUEST = [
  "00010090 2112a442 78ad3433c6ad72c029da412e",
  "001e0020 4a3cf38fef6992bda952c6780417da0f24819415569e60b205c46e41407f1704",
  "00150029 6f624d61744a6f733241414143662f2f3439396b39353464364f4c33346f4c39465354767936347341000000",
  "0014000b 6578616d706c652e6f726700",
  "001d0004 00020000",
  "001c0020 b5c7bf005b6c52a21c51c5e892f81924136296cb927c43149309278cc6518e65",
]
  .join("")
  .replaceAll(" ", "");

const USERNAME = "\u30de\u30c8\u30ea\u30c3\u30af\u30b9";

test("RFC 8489 §B.1, erratum 6268: sample request with MESSAGE-INTEGRITY-SHA256 and USERHASH", () => {
  const key = longTermKey({
    algorithm: "sha256",
    username: USERNAME,
    realm: "example.org",
    password: "TheMatrIX",
    crypto: nodeCrypto,
  });
  const hash = userhashOf({ username: USERNAME, realm: "example.org", crypto: nodeCrypto });
  const nonceText = "obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA";
  const sha256 = { algorithm: passwordAlgorithmNumbers.sha256, parameters: new Uint8Array(0) };

  const result = decodeMessage(Buffer.from(REQUEST, "hex"));
  if (!result.ok) throw new Error(result.error.code);
  const { message } = result;
  expect(message).toMatchObject({ class: "request", methodName: "binding", hasFingerprint: false });
  const decoded = getAttribute(message, userhash);
  expect(decoded?.ok === true && [...decoded.value]).toEqual([...hash]);
  expect(getAttribute(message, nonce)).toEqual({ ok: true, value: nonceText });
  expect(getAttribute(message, realm)).toEqual({ ok: true, value: "example.org" });
  expect(getAttribute(message, passwordAlgorithm)).toMatchObject({ ok: true, value: { algorithm: 2 } });
  expect(verifyIntegrity(message, { algorithm: "sha256", key, crypto: nodeCrypto })).toBe(true);

  const encoded = encodeMessage({
    class: "request",
    method: "binding",
    transactionId: message.transactionId,
    attributes: [
      attribute(userhash, hash),
      attribute(nonce, nonceText),
      attribute(realm, "example.org"),
      attribute(passwordAlgorithm, sha256),
    ],
    integrity: { algorithm: "sha256", key, crypto: nodeCrypto },
  });
  expect(Buffer.from(encoded).toString("hex")).toBe(REQUEST);
});

// The vector gives the password before preparation with a soft hyphen, which SASLprep drops and OpaqueString refuses.
test("RFC 8489 §B.1: the unprepared password isn't an OpaqueString", () => {
  expect(opaqueString("The\u00adM\u00aatr\u2168")).toBeUndefined();
  expect(opaqueString("TheMatrIX")).toBe("TheMatrIX");
});
