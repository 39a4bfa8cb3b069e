import {
  attribute,
  decodeMessage,
  encodeMessage,
  getAttribute,
  iceControlled,
  longTermKey,
  nonce,
  parseTransportAddress,
  priority,
  rawAttribute,
  realm,
  software,
  type StunMessage,
  transportAddress,
  username,
  verifyIntegrity,
  xorMappedAddress,
} from "@turnpike/stun";
import { nodeCrypto } from "@turnpike/stun/node";
import { describe, expect, test } from "vitest";

/** RFC 5769 §2.1, whose USERNAME is padded with spaces and whose SOFTWARE attribute needs no padding. */
const REQUEST = `
  00010058 2112a442 b7e7a701bc34d686fa87dfae
  80220010 5354554e207465737420636c69656e74
  00240004 6e0001ff
  80290008 932ff9b151263b36
  00060009 6576746a3a68367659202020
  00080014 9aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2
  80280004 e57a3bcf`;
/** RFC 5769 §2.2: SOFTWARE is padded with a space. */
const IPV4_RESPONSE = `
  0101003c 2112a442 b7e7a701bc34d686fa87dfae
  8022000b 7465737420766563746f7220
  00200008 0001a147e112a643
  00080014 2b91f599fd9e90c38c7489f92af9ba53f06be7d7
  80280004 c07d4c96`;
/** RFC 5769 §2.3. */
const IPV6_RESPONSE = `
  01010048 2112a442 b7e7a701bc34d686fa87dfae
  8022000b 7465737420766563746f7220
  00200014 0002a1470113a9faa5d3f179bc25f4b5bed2b9d9
  00080014 a382954e4be67bf11784c97c8292c275bfe3ed41
  80280004 c8fb0b4c`;
/** RFC 5769 §2.4. */
const LONG_TERM_REQUEST = `
  00010060 2112a442 78ad3433c6ad72c029da412e
  00060012 e3839ee38388e383aae38383e382afe382b90000
  0015001c 662f2f3439396b39353464364f4c33346f4c39465354767936347341
  0014000b 6578616d706c652e6f726700
  00080014 f67024656dd64a3e02b8e0712e85c9a28ca89666`;

const SHORT_TERM_KEY = Buffer.from("VOkJxbRl1RmTxUk/WvJxBt");

describe("RFC 5769", () => {
  test("§2.1 sample request", () => {
    const message = decode(REQUEST);
    expect(message).toMatchObject({ class: "request", methodName: "binding", hasFingerprint: true });
    expect(getAttribute(message, software)).toEqual({ ok: true, value: "STUN test client" });
    expect(getAttribute(message, priority)).toEqual({ ok: true, value: 0x6e0001ff });
    expect(getAttribute(message, iceControlled)).toEqual({ ok: true, value: 0x932ff9b151263b36n });
    expect(getAttribute(message, username)).toEqual({ ok: true, value: "evtj:h6vY" });
    expectOnlyKey(message, SHORT_TERM_KEY);
  });

  test.each([
    ["§2.2 sample IPv4 response", IPV4_RESPONSE, "192.0.2.1:32853"],
    ["§2.3 sample IPv6 response", IPV6_RESPONSE, "[2001:db8:1234:5678:11:2233:4455:6677]:32853"],
  ])("%s", (_name, vector, mapped) => {
    const message = decode(vector);
    expect(message).toMatchObject({ class: "success", methodName: "binding", hasFingerprint: true });
    expect(getAttribute(message, software)).toEqual({ ok: true, value: "test vector" });
    expect(getAttribute(message, xorMappedAddress)).toEqual({ ok: true, value: parseTransportAddress(mapped) });
    expectOnlyKey(message, SHORT_TERM_KEY);
  });

  test("§2.4 sample request with long-term authentication", () => {
    const message = decode(LONG_TERM_REQUEST);
    const name = "\u30de\u30c8\u30ea\u30c3\u30af\u30b9";
    expect(getAttribute(message, username)).toEqual({ ok: true, value: name });
    expect(getAttribute(message, nonce)).toEqual({ ok: true, value: "f//499k954d6OL34oL9FSTvy64sA" });
    expect(getAttribute(message, realm)).toEqual({ ok: true, value: "example.org" });
    const key = longTermKey({
      algorithm: "md5",
      username: name,
      realm: "example.org",
      password: "TheMatrIX",
      crypto: nodeCrypto,
    });
    expectOnlyKey(message, key);

    const encoded = encodeMessage({
      class: "request",
      method: "binding",
      transactionId: message.transactionId,
      attributes: [
        attribute(username, name),
        attribute(nonce, "f//499k954d6OL34oL9FSTvy64sA"),
        attribute(realm, "example.org"),
      ],
      integrity: { algorithm: "sha1", key, crypto: nodeCrypto },
    });
    expect(hex(encoded)).toBe(compact(LONG_TERM_REQUEST));
  });

  // The RFC pads with spaces, this encoder with zeros, and the HMAC covers the padding: only attributes can be compared.
  test.each([
    [IPV4_RESPONSE, "192.0.2.1"],
    [IPV6_RESPONSE, "2001:db8:1234:5678:11:2233:4455:6677"],
  ])("§2.2 and §2.3: XOR-MAPPED-ADDRESS encodes to the same bytes", (vector, ip) => {
    const { transactionId } = decode(vector);
    const address = attribute(xorMappedAddress, transportAddress(ip, 32_853));
    const encoded = encodeMessage({ class: "success", method: "binding", transactionId, attributes: [address] });
    expect(compact(vector)).toContain(hex(encoded.subarray(20)));
  });

  test("§2.1: the attributes before the integrity encode to the same bytes, given their padding", () => {
    const { transactionId } = decode(REQUEST);
    const encoded = encodeMessage({
      class: "request",
      method: "binding",
      transactionId,
      attributes: [
        attribute(software, "STUN test client"),
        attribute(priority, 0x6e0001ff),
        attribute(iceControlled, 0x932ff9b151263b36n),
        rawAttribute(0x0006, Buffer.from("evtj:h6vY   ")),
      ],
    });
    expect(hex(encoded.subarray(20)).replace("0006000c", "00060009")).toBe(compact(REQUEST).slice(40, 40 + 2 * 56));
  });
});

function expectOnlyKey(message: StunMessage, key: Uint8Array): void {
  const check = (candidate: Uint8Array): boolean =>
    verifyIntegrity(message, { algorithm: "sha1", key: candidate, crypto: nodeCrypto });
  expect(check(key)).toBe(true);
  expect(check(Uint8Array.of(...key, 1))).toBe(false);
  expect(verifyIntegrity(message, { algorithm: "sha256", key, crypto: nodeCrypto })).toBe(false);
}

function decode(vector: string): StunMessage {
  const result = decodeMessage(Buffer.from(compact(vector), "hex"));
  if (!result.ok) throw new Error(`${result.error.code} at ${result.error.offset}`);
  return result.message;
}

function compact(vector: string): string {
  return vector.replaceAll(/\s/g, "");
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
