import { crc32 } from "node:zlib";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  corrupted,
  encodedAttribute,
  message as anyMessage,
  messageClass,
  method,
  surround,
  transactionId,
} from "../test/arbitraries.ts";
import * as stun from "./index.ts";
import { nodeCrypto } from "./node.ts";

const ID = Uint8Array.from({ length: 12 }, (_, index) => index + 1);
const KEY = Uint8Array.of(1, 2, 3);
const sha1 = { algorithm: "sha1", key: KEY, crypto: nodeCrypto } as const;
const sha256 = { algorithm: "sha256", key: KEY, crypto: nodeCrypto } as const;

function decode(bytes: Uint8Array): stun.StunMessage {
  const result = stun.decodeMessage(bytes);
  if (!result.ok) throw new Error(`${result.error.code} at ${result.error.offset}`);
  return result.message;
}

function binding(attributes: readonly stun.EncodedAttribute[], rest?: Partial<stun.MessageToEncode>): Uint8Array {
  return stun.encodeMessage({ class: "request", method: "binding", transactionId: ID, attributes, ...rest });
}

/** What a message says, without where it stands. */
function essence(message: stun.StunMessage): unknown {
  return {
    class: message.class,
    method: message.method,
    methodName: message.methodName,
    transactionId: [...message.transactionId],
    attributes: message.attributes.map(({ type, value, offset }) => ({ type, value: [...value], offset })),
    bytes: [...message.bytes],
    hasFingerprint: message.hasFingerprint,
  };
}

describe("encode and decode", () => {
  test("decode after encode is the identity", () => {
    const integrity = fc.constantFrom(undefined, sha1, sha256, [sha1, sha256], [sha256, sha1]);
    const attributes = fc.array(encodedAttribute, { maxLength: 8 });
    fc.assert(
      fc.property(
        messageClass,
        method,
        transactionId,
        attributes,
        integrity,
        fc.boolean(),
        (messageClass, method, transactionId, attributes, integrity, fingerprint) => {
          const parts = { class: messageClass, method, transactionId, attributes, fingerprint };
          const message = decode(stun.encodeMessage(integrity === undefined ? parts : { ...parts, integrity }));
          expect(message).toMatchObject({ class: messageClass, methodName: method, hasFingerprint: fingerprint });
          expect(message.method).toBe(stun.methods[method].number);
          expect([...message.transactionId]).toEqual([...transactionId]);
          const plain = message.attributes.slice(0, attributes.length);
          expect(plain.map(({ type, value }) => [type, ...value])).toEqual(
            attributes.map((attribute) => [attribute.type, ...attribute.encode({ transactionId })]),
          );
          const wanted = integrity === undefined ? [] : [integrity].flat();
          expect(stun.integrityAlgorithms(message)).toEqual({
            sha1: wanted.includes(sha1),
            sha256: wanted.includes(sha256),
          });
          for (const options of wanted) {
            expect(stun.verifyIntegrity(message, options)).toBe(true);
            expect(stun.verifyIntegrity(message, { ...options, key: Uint8Array.of(1, 2, 4) })).toBe(false);
          }
        },
      ),
    );
  });

  test("every type field is split and joined as RFC 8489 figure 3 says", () => {
    expect(Buffer.from(binding([])).readUInt16BE(0)).toBe(0x0001);
    expect(Buffer.from(binding([], { class: "success" })).readUInt16BE(0)).toBe(0x0101);
    expect(Buffer.from(binding([], { class: "error", method: "allocate" })).readUInt16BE(0)).toBe(0x0113);
    expect(Buffer.from(binding([], { class: "indication", method: "send" })).readUInt16BE(0)).toBe(0x0016);
    expect(Buffer.from(binding([], { class: "indication", method: "data" })).readUInt16BE(0)).toBe(0x0017);
    const seen = new Set<string>();
    for (let type = 0; type < 0x4000; type++) {
      const bytes = binding([]);
      Buffer.from(bytes.buffer).writeUInt16BE(type, 0);
      const message = decode(bytes);
      expect(message.method).toBeLessThan(0x1000);
      seen.add(`${message.class} ${message.method}`);
    }
    expect(seen.size).toBe(0x4000);
  });

  test("padding is written as zeros and read as anything", () => {
    const bytes = binding([stun.attribute(stun.username, "a")]);
    expect([...bytes.subarray(-3)]).toEqual([0, 0, 0]);
    bytes.fill(0xff, -3);
    expect(stun.getAttribute(decode(bytes), stun.username)).toEqual({ ok: true, value: "a" });
  });

  test("what doesn't fit is refused", () => {
    expect(() => binding([], { transactionId: new Uint8Array(11) })).toThrow(RangeError);
    expect(() => binding([stun.attribute(stun.data, new Uint8Array(65_529))])).toThrow(RangeError);
    expect(binding([stun.attribute(stun.data, new Uint8Array(65_528))])).toHaveLength(20 + 65_532);
  });
});

describe("decodeMessage", () => {
  test("takes any bytes, and reads none outside of what it was given", () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 80 }), corrupted, anyMessage), (bytes) => {
        const plain = stun.decodeMessage(bytes);
        for (const poison of [0x00, 0xff, 0x21]) {
          const { bytes: around, offset, length } = surround(bytes, poison);
          const walled = stun.decodeMessage(around, offset, length);
          if (plain.ok && walled.ok) expect(essence(walled.message)).toEqual(essence(plain.message));
          else expect(walled).toEqual(plain);
        }
        if (plain.ok) {
          for (const { offset, value } of plain.message.attributes) {
            expect(offset + 4 + value.length).toBeLessThanOrEqual(bytes.length);
          }
        }
      }),
      { numRuns: 2000 },
    );
  });

  test.each<[stun.DecodeErrorCode, number, (good: Uint8Array) => Uint8Array]>([
    ["tooShort", 0, () => new Uint8Array(0)],
    ["tooShort", 0, (good) => good.subarray(0, 19)],
    ["notStun", 0, (good) => with8(good, 0, 0x40)],
    ["notStun", 0, (good) => with8(good, 0, 0x80)],
    ["badCookie", 4, (good) => with8(good, 4, 0)],
    ["lengthNotMultipleOf4", 2, (good) => change(good, 3, (byte) => byte + 1)],
    ["lengthMismatch", 2, (good) => change(good, 3, (byte) => byte - 4)],
    ["lengthMismatch", 2, (good) => with8(good, 2, 1)],
    ["lengthMismatch", 2, (good) => good.subarray(0, -4)],
    ["lengthMismatch", 2, (good) => Uint8Array.of(...good, 0)],
    ["attributeOverrun", 20, (good) => with8(good, 23, 200)],
    ["attributeOverrun", 20, (good) => with8(with8(good, 22, 0xff), 23, 0xff)],
    ["badFingerprint", 28, (good) => change(good, 27, (byte) => byte ^ 1)],
    ["badFingerprint", 28, (good) => change(good, 35, (byte) => byte ^ 1)],
  ])("%s at %i", (code, offset, spoil) => {
    const good = binding([stun.attribute(stun.lifetime, 600)], { fingerprint: true });
    expect(stun.decodeMessage(spoil(Uint8Array.from(good)))).toEqual({ ok: false, error: { code, offset } });
  });

  test.each([
    [-1, 20],
    [0, 29],
    [9, 20],
    [0, -20],
    [Number.NaN, 20],
    [0, Number.NaN],
    [Number.POSITIVE_INFINITY, 20],
  ])("offset %d and length %d outside the buffer are tooShort", (offset, length) => {
    const result = stun.decodeMessage(binding([stun.attribute(stun.lifetime, 1)]), offset, length);
    expect(result).toEqual({ ok: false, error: { code: "tooShort", offset: 0 } });
  });
});

describe("integrity", () => {
  const truncated = (bytes: 16 | 20 | 24 | 28 | 32): stun.StunMessage =>
    decode(binding([stun.attribute(stun.lifetime, 1)], { integrity: { ...sha256, bytes }, fingerprint: true }));

  test.each([16, 20, 24, 28, 32] as const)("MESSAGE-INTEGRITY-SHA256 of %i bytes", (length) => {
    const message = truncated(length);
    expect(stun.getAttribute(message, stun.messageIntegritySha256)).toMatchObject({ ok: true, value: { length } });
    expect(stun.verifyIntegrity(message, { ...sha256, minimumBytes: 16 })).toBe(true);
    expect(stun.verifyIntegrity(message, { ...sha256, minimumBytes: length })).toBe(true);
    expect(stun.verifyIntegrity(message, { ...sha256, minimumBytes: length + 4 })).toBe(false);
    expect(stun.verifyIntegrity(message, sha256)).toBe(length === 32);
    expect(stun.verifyIntegrity(message, { ...sha256, minimumBytes: 16, key: Uint8Array.of(9) })).toBe(false);
  });

  test.each([0, 4, 12, 15, 17, 18, 36])("MESSAGE-INTEGRITY-SHA256 of %i bytes is never right", (length) => {
    const type = stun.attributes.messageIntegritySha256.number;
    const bytes = binding([stun.attribute(stun.lifetime, 1), stun.rawAttribute(type, new Uint8Array(length))]);
    // It is the right HMAC, cut to so few bytes that they could be guessed.
    const hmac = nodeCrypto.hmac("sha256", KEY, [bytes.subarray(0, 28)]);
    bytes.set(hmac.subarray(0, length), 32);
    const message = decode(bytes);
    expect(stun.integrityAlgorithms(message).sha256).toBe(true);
    expect(stun.verifyIntegrity(message, { ...sha256, minimumBytes: 0 })).toBe(false);
  });

  test("covers everything before it", () => {
    const message = binding([stun.attribute(stun.username, "user"), stun.attribute(stun.lifetime, 1)], {
      integrity: sha1,
    });
    fc.assert(
      fc.property(fc.nat(message.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const result = stun.decodeMessage(change(Uint8Array.from(message), at, (byte) => byte ^ flip));
        expect(result.ok && stun.verifyIntegrity(result.message, sha1)).toBe(false);
      }),
    );
  });

  test("checking doesn't change the message", () => {
    const bytes = binding([], { integrity: [sha1, sha256], fingerprint: true });
    const before = [...bytes];
    expect(stun.verifyIntegrity(decode(bytes), sha1)).toBe(true);
    expect([...bytes]).toEqual(before);
  });

  test("MESSAGE-INTEGRITY can't be truncated", () => {
    expect(() => binding([], { integrity: { ...sha1, bytes: 16 } })).toThrow(RangeError);
  });
});

test("unknownComprehensionRequired gives each type once, in order", () => {
  const types = [0x0031, 0x8031, 0x0006, 0x7fff, 0x0031];
  const message = decode(binding(types.map((type) => stun.rawAttribute(type, new Uint8Array(0)))));
  expect(stun.unknownComprehensionRequired(message, new Set([0x0006]))).toEqual([0x0031, 0x7fff]);
  expect(message.attributes.map(({ type }) => type)).toEqual(types);
});

test("getAttributes gives every occurrence, getAttribute the first", () => {
  const peers = ["192.0.2.1", "2001:db8::1"].map((ip) => stun.transportAddress(ip, 0));
  const message = decode(binding(peers.map((peer) => stun.attribute(stun.xorPeerAddress, peer))));
  expect(stun.getAttributes(message, stun.xorPeerAddress)).toEqual(peers.map((value) => ({ ok: true, value })));
  expect(stun.getAttribute(message, stun.xorPeerAddress)).toEqual({ ok: true, value: peers[0] });
  expect(stun.getAttribute(message, stun.lifetime)).toBeUndefined();
  expect(stun.hasAttribute(message, stun.xorPeerAddress)).toBe(true);
  expect(stun.hasAttribute(message, stun.lifetime)).toBe(false);
});

test("CRC-32 is the platform's", () => {
  const check = new TextEncoder().encode("123456789");
  expect(stun.crc32(check, 0, check.length)).toBe(0xcbf43926);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), fc.nat(8), fc.nat(8), (bytes, before, behind) => {
      const end = Math.max(before, bytes.length - behind);
      expect(stun.crc32(bytes, Math.min(before, bytes.length), Math.min(end, bytes.length))).toBe(
        crc32(bytes.subarray(before, end)),
      );
    }),
  );
});

function change(bytes: Uint8Array, at: number, how: (byte: number) => number): Uint8Array {
  return with8(bytes, at, how(new DataView(bytes.buffer).getUint8(at)));
}

function with8(bytes: Uint8Array, at: number, value: number): Uint8Array {
  bytes[at] = value;
  return bytes;
}
