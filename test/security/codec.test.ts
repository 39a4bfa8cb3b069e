import { crc32 } from "node:zlib";
import {
  attribute,
  attributes,
  data,
  decodeMessage,
  dontFragment,
  encodeChannelData,
  encodeMessage,
  type EncodedAttribute,
  errorCode,
  getAttribute,
  lifetime,
  MAXIMUM_STREAM_FRAME,
  type MessageToEncode,
  rawAttribute,
  scanSendIndication,
  SendIndicationError,
  SendIndicationView,
  StreamFramer,
  type StunMessage,
  transportAddress,
  unknownComprehensionRequired,
  username,
  verifyIntegrity,
  xorMappedAddress,
  xorPeerAddress,
} from "@turnpike/stun";
import { nodeCrypto } from "@turnpike/stun/node";
import { describe, expect, test } from "vitest";

const transactionId = new Uint8Array(12).fill(7);
const key = new Uint8Array(16).fill(9);
const sha1 = { algorithm: "sha1", key, crypto: nodeCrypto } as const;
const sha256 = { algorithm: "sha256", key, crypto: nodeCrypto } as const;

describe("before authentication: streams", () => {
  test.each([0xfffc, 0xfffd, 0xfffe, 0xffff])("ChannelData of length %i is one message, not a loop", (length) => {
    const framer = new StreamFramer();
    const wire = encodeChannelData(0x4000, new Uint8Array(length).fill(1), { padded: true });
    const after = encodeChannelData(0x4001, Uint8Array.of(2), { padded: true });
    const lengths: number[] = [];
    for (let at = 0; at < wire.length; at += 1460) {
      framer.push(wire.subarray(at, at + 1460));
      lengths.push(...drain(framer));
      expect(framer.bufferedLength).toBeLessThanOrEqual(MAXIMUM_STREAM_FRAME);
    }
    framer.push(after);
    lengths.push(...drain(framer));
    expect(lengths).toEqual([4 + length, 5]);
  });

  test("a header that claims the most and then nothing ends in nothing", () => {
    const framer = new StreamFramer();
    framer.push(Uint8Array.of(0x40, 0, 0xff, 0xff));
    for (let calls = 0; calls < 10; calls++) expect(framer.next()).toBeUndefined();
    expect(framer.bufferedLength).toBe(4);
  });

  test("a STUN length can't be truncated into other messages", () => {
    // 0x10000 bytes of attributes can't be said in 16 bits: an encoder that wraps would send a header of length 0 with
    // attacker's bytes behind it, which the next hop reads as messages.
    const inner = message([]);
    const smuggled = new Uint8Array(65_532);
    smuggled.set(inner);
    expect(() => message([attribute(data, smuggled)])).toThrow(RangeError);
    const exact = message([attribute(data, smuggled.subarray(0, 65_528))]);
    const framer = new StreamFramer();
    framer.push(exact);
    expect(drain(framer)).toEqual([exact.length]);
    expect(decodeMessage(Uint8Array.of(...inner, ...inner))).toMatchObject({ error: { code: "lengthMismatch" } });
  });

  test.each([0, 1, 2, 3, 4])("ChannelData of %i bytes doesn't wait for the next message", (length) => {
    const framer = new StreamFramer();
    framer.push(encodeChannelData(0x4000, new Uint8Array(length), { padded: true }));
    expect(drain(framer)).toEqual([4 + length]);
  });
});

describe("before authentication: attributes", () => {
  test("what follows MESSAGE-INTEGRITY doesn't count", () => {
    const forged = append(message([attribute(username, "user")], { integrity: sha1 }), attribute(lifetime, 3600));
    const decoded = decode(forged);
    expect(getAttribute(decoded, lifetime)).toBeUndefined();
    expect(decoded.attributes.map(({ type }) => type)).toEqual([0x0006, 0x0008]);
    expect(verifyIntegrity(decoded, sha1)).toBe(true);
  });

  test("a second MESSAGE-INTEGRITY, and an unknown attribute behind the first, don't count", () => {
    const forged = [
      rawAttribute(attributes.messageIntegrity.number, new Uint8Array(20)),
      rawAttribute(0x7fff, new Uint8Array(0)),
    ].reduce(append, message([], { integrity: sha1 }));
    expect(decode(forged).attributes).toHaveLength(1);
    expect(unknownComprehensionRequired(decode(forged), new Set([0x0008]))).toEqual([]);
  });

  test("what follows MESSAGE-INTEGRITY-SHA256 doesn't count, MESSAGE-INTEGRITY included", () => {
    const bytes = message([attribute(username, "user")], { integrity: [sha1, sha256] });
    const forged = [
      attribute(lifetime, 3600),
      rawAttribute(attributes.messageIntegrity.number, new Uint8Array(20)),
    ].reduce(append, bytes);
    const decoded = decode(forged);
    expect(decoded.attributes.map(({ type }) => type)).toEqual([0x0006, 0x0008, 0x001c]);
    expect(verifyIntegrity(decoded, sha1)).toBe(true);
    expect(verifyIntegrity(decoded, sha256)).toBe(true);
  });

  test("an indication's MESSAGE-INTEGRITY hides what follows from the fast path too", () => {
    const peer = attribute(xorPeerAddress, transportAddress("192.0.2.1", 9));
    const send = message([peer], { class: "indication", method: "send", integrity: sha1 });
    const forged = append(send, attribute(data, Uint8Array.of(1)));
    const view = new SendIndicationView();
    expect(scanSendIndication(forged, 0, forged.length, view)).toBe(false);
    expect(view.error).toBe(SendIndicationError.noData);
  });

  test("of duplicates the first counts", () => {
    const decoded = decode(message([attribute(username, "first"), attribute(username, "second")]));
    expect(getAttribute(decoded, username)).toEqual({ ok: true, value: "first" });
    const bad = decode(message([rawAttribute(0x0006, Uint8Array.of(0xff)), attribute(username, "second")]));
    expect(getAttribute(bad, username)).toEqual({ ok: false, error: { code: "badUtf8", offset: 0 } });
  });

  test("FINGERPRINT that isn't last, is doubled, is wrong or has a wrong length", () => {
    const good = message([attribute(username, "user")], { fingerprint: true });
    expect(code(append(good, attribute(dontFragment, true)))).toBe("badFingerprint");
    // With its checksum right for a message that goes on:
    const last = 20 + 8;
    const goesOn = append(good, attribute(dontFragment, true));
    goesOn.set(refingerprint(goesOn, last), last + 4);
    expect(code(goesOn)).toBe("fingerprintNotLast");
    const doubled = append(good, rawAttribute(attributes.fingerprint.number, new Uint8Array(4)));
    doubled.set(refingerprint(doubled, last), last + 4);
    expect(code(doubled)).toBe("fingerprintNotLast");
    expect(code(message([rawAttribute(attributes.fingerprint.number, new Uint8Array(4))]))).toBe("badFingerprint");
    expect(code(message([rawAttribute(attributes.fingerprint.number, new Uint8Array(8))]))).toBe("badFingerprint");
    expect(code(message([rawAttribute(attributes.fingerprint.number, new Uint8Array(0))]))).toBe("badFingerprint");
  });

  test("the fast path refuses a FINGERPRINT that isn't last, or is wrong, too", () => {
    const peer = attribute(xorPeerAddress, transportAddress("192.0.2.1", 9));
    const send = message([peer], { class: "indication", method: "send", fingerprint: true });
    const whole = message([peer, attribute(data, Uint8Array.of(1))], {
      class: "indication",
      method: "send",
      fingerprint: true,
    });
    const goesOn = append(send, attribute(data, Uint8Array.of(1)));
    goesOn.set(refingerprint(goesOn, 32), 36);
    const wrong = Uint8Array.from(whole).fill(0, -1);
    const view = new SendIndicationView();
    expect(scanSendIndication(whole, 0, whole.length, view)).toBe(true);
    for (const bad of [goesOn, wrong]) {
      expect(scanSendIndication(bad, 0, bad.length, view)).toBe(false);
      expect(view.error).toBe(SendIndicationError.malformed);
    }
  });

  test("padding that isn't zero is ignored", () => {
    const bytes = message([attribute(username, "u")]);
    bytes.fill(0xff, 25);
    expect(getAttribute(decode(bytes), username)).toEqual({ ok: true, value: "u" });
  });

  test("XOR-MAPPED-ADDRESS of family 3 or of a wrong length", () => {
    const of = (...value: number[]): unknown =>
      getAttribute(decode(message([rawAttribute(0x0020, Uint8Array.from(value))])), xorMappedAddress);
    expect(of(0, 3, 1, 2, 1, 2, 3, 4)).toEqual({ ok: false, error: { code: "badFamily", offset: 1 } });
    expect(of(0, 1, 1, 2, 1, 2, 3)).toEqual({ ok: false, error: { code: "wrongLength", offset: 0 } });
    expect(of(0, 2, 1, 2, 1, 2, 3, 4)).toEqual({ ok: false, error: { code: "wrongLength", offset: 0 } });
    expect(of()).toEqual({ ok: false, error: { code: "wrongLength", offset: 0 } });
  });

  test("ERROR-CODE class 7", () => {
    const decoded = decode(message([rawAttribute(0x0009, Uint8Array.of(0, 0, 7, 0))], { class: "error" }));
    expect(getAttribute(decoded, errorCode)).toEqual({ ok: false, error: { code: "badValue", offset: 2 } });
  });

  test("16,383 attributes in one message: refused at the sixty-fifth", () => {
    const bytes = new Uint8Array(20 + 65_532);
    bytes.set(message([]));
    for (let at = 20; at < bytes.length; at += 4) bytes.set([0x80, 0x22, 0, 0], at);
    new DataView(bytes.buffer).setUint16(2, 65_532);
    expect(decodeMessage(bytes)).toEqual({ ok: false, error: { code: "tooManyAttributes", offset: 20 + 64 * 4 } });
    const few = message(Array.from({ length: 64 }, () => rawAttribute(0x8022, new Uint8Array(0))));
    expect(decode(few).attributes).toHaveLength(64);
  });

  test("no magic cookie: an RFC 3489 request is told apart", () => {
    const old = message([]);
    old.fill(1, 4, 20);
    expect(decodeMessage(old)).toEqual({ ok: false, error: { code: "badCookie", offset: 4 } });
  });
});

function message(list: readonly EncodedAttribute[], rest?: Partial<MessageToEncode>): Uint8Array {
  return encodeMessage({ class: "request", method: "binding", transactionId, attributes: list, ...rest });
}

/** Appends an attribute and mends the length, as someone on the path would. */
function append(bytes: Uint8Array, attribute: EncodedAttribute): Uint8Array {
  const tail = message([attribute]).subarray(20);
  const longer = Uint8Array.of(...bytes, ...tail);
  new DataView(longer.buffer).setUint16(2, longer.length - 20);
  return longer;
}

/** The FINGERPRINT value that is right for `bytes` as they stand, if it stands at `at`. */
function refingerprint(bytes: Uint8Array, at: number): Uint8Array {
  const value = new Uint8Array(4);
  const crc = crc32(bytes.subarray(0, at));
  new DataView(value.buffer).setUint32(0, (crc ^ 0x5354554e) >>> 0);
  return value;
}

function decode(bytes: Uint8Array): StunMessage {
  const result = decodeMessage(bytes);
  if (!result.ok) throw new Error(`${result.error.code} at ${result.error.offset}`);
  return result.message;
}

function code(bytes: Uint8Array): string | undefined {
  const result = decodeMessage(bytes);
  return result.ok ? undefined : result.error.code;
}

function drain(framer: StreamFramer): number[] {
  const lengths: number[] = [];
  for (let frame = framer.next(); frame !== undefined; frame = framer.next()) {
    if (frame.kind === "error") throw new Error(frame.code);
    lengths.push(frame.length);
  }
  return lengths;
}
