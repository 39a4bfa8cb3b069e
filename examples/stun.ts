import { attribute, decodeMessage, encodeMessage, formatTransportAddress, getAttribute } from "@turnpike/stun";
import { longTermKey, transportAddress, username, verifyIntegrity, xorMappedAddress } from "@turnpike/stun";
import { nodeCrypto as crypto } from "@turnpike/stun/node";

const key = longTermKey({ algorithm: "md5", username: "alice", realm: "example.org", password: "secret", crypto });
const bytes = encodeMessage({
  class: "success",
  method: "binding",
  transactionId: globalThis.crypto.getRandomValues(new Uint8Array(12)),
  attributes: [attribute(username, "alice"), attribute(xorMappedAddress, transportAddress("192.0.2.1", 32853))],
  integrity: { algorithm: "sha1", key, crypto },
  fingerprint: true,
});

const result = decodeMessage(bytes);
if (!result.ok) throw new Error(`Cannot decode: ${result.error.code} at ${result.error.offset}`);
const mapped = getAttribute(result.message, xorMappedAddress);
if (mapped?.ok === true) console.log(formatTransportAddress(mapped.value)); // 192.0.2.1:32853
console.log(verifyIntegrity(result.message, { algorithm: "sha1", key, crypto })); // true
