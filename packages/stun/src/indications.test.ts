import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  corrupted,
  encodedAttribute,
  message as anyMessage,
  surround,
  transactionId as anyTransactionId,
  transportAddress as anyAddress,
} from "../test/arbitraries.ts";
import * as stun from "./index.ts";
import { nodeCrypto } from "./node.ts";

const { SendIndicationError } = stun;

/** What the codec for control paths makes of it: the reference for the scanner. */
function reference(bytes: Uint8Array): unknown {
  const result = stun.decodeMessage(bytes);
  const isSend =
    bytes.length >= 20 && bytes[0] === 0x00 && bytes[1] === 0x16 && Buffer.from(bytes).readInt32BE(4) === 0x2112a442;
  if (!isSend) return { error: SendIndicationError.notSendIndication };
  if (!result.ok) return { error: SendIndicationError.malformed };
  const { message } = result;
  const known = Object.values(stun.attributes).filter(({ reference }) => !/RFC (?:5780|8445)/.test(reference));
  const [unknown] = stun.unknownComprehensionRequired(message, new Set(known.map(({ number }) => number)));
  if (unknown !== undefined) return { error: SendIndicationError.unknownAttribute, unknown };
  const peer = stun.getAttribute(message, stun.xorPeerAddress);
  if (peer?.ok !== true) return { error: SendIndicationError.noPeerAddress };
  const data = stun.getAttribute(message, stun.data);
  if (data?.ok !== true) return { error: SendIndicationError.noData };
  return {
    error: SendIndicationError.none,
    peer: peer.value,
    data: [...data.value],
    dontFragment: stun.hasAttribute(message, stun.dontFragment),
  };
}

function scanned(bytes: Uint8Array, offset: number, length: number, view: stun.SendIndicationView): unknown {
  const right = stun.scanSendIndication(bytes, offset, length, view);
  const { error, unknownAttribute: unknown, peer, dataOffset, dataLength, dontFragment } = view;
  expect(right).toBe(error === SendIndicationError.none);
  if (error === SendIndicationError.unknownAttribute) return { error, unknown };
  if (!right) return { error };
  return {
    error,
    peer: stun.withPort(peer, peer.port),
    data: [...bytes.subarray(dataOffset, dataOffset + dataLength)],
    dontFragment,
  };
}

const send = fc
  .record({
    transactionId: anyTransactionId,
    attributes: fc.array(
      fc.oneof(
        encodedAttribute,
        anyAddress.map((peer) => stun.attribute(stun.xorPeerAddress, peer)),
        fc.uint8Array({ maxLength: 30 }).map((data) => stun.attribute(stun.data, data)),
        fc.constant(stun.attribute(stun.dontFragment, true)),
        fc.constant(stun.rawAttribute(stun.attributes.messageIntegrity.number, new Uint8Array(20))),
        fc.constant(stun.rawAttribute(stun.attributes.messageIntegritySha256.number, new Uint8Array(32))),
      ),
      { maxLength: 6 },
    ),
    fingerprint: fc.boolean(),
  })
  .map((parts) => stun.encodeMessage({ class: "indication", method: "send", ...parts }));

describe("scanSendIndication", () => {
  test("finds what decodeMessage and getAttribute find, in any bytes, and reads none outside", () => {
    // One view for all: nothing of the message before may shine through.
    const view = new stun.SendIndicationView();
    const spoilt = fc
      .tuple(send, fc.nat(), fc.nat(255))
      .map(([bytes, at, value]) => Uint8Array.from(bytes).fill(value, at % bytes.length, (at % bytes.length) + 1));
    fc.assert(
      fc.property(fc.oneof(send, spoilt, anyMessage, corrupted, fc.uint8Array({ maxLength: 40 })), (bytes) => {
        const expected = reference(bytes);
        expect(scanned(bytes, 0, bytes.length, view)).toEqual(expected);
        for (const poison of [0x00, 0xff]) {
          const around = surround(bytes, poison);
          expect(scanned(around.bytes, around.offset, around.length, view)).toEqual(expected);
        }
      }),
      { numRuns: 3000 },
    );
  });

  test("outside the buffer there is no indication", () => {
    const view = new stun.SendIndicationView();
    for (const [offset, length] of [
      [-1, 20],
      [0, 21],
      [1, 20],
      [Number.NaN, 20],
      [0, Number.NaN],
    ] as const) {
      expect(stun.scanSendIndication(new Uint8Array(20), offset, length, view)).toBe(false);
      expect(view.error).toBe(SendIndicationError.notSendIndication);
    }
  });

  test("more than 64 attributes are malformed", () => {
    const view = new stun.SendIndicationView();
    const make = (count: number): Uint8Array =>
      stun.encodeMessage({
        class: "indication",
        method: "send",
        transactionId: new Uint8Array(12),
        attributes: [
          stun.attribute(stun.xorPeerAddress, stun.transportAddress("192.0.2.1", 1)),
          stun.attribute(stun.data, new Uint8Array(1)),
          ...Array.from({ length: count - 2 }, () => stun.attribute(stun.dontFragment, true)),
        ],
      });
    expect(stun.scanSendIndication(make(64), 0, make(64).length, view)).toBe(true);
    expect(stun.scanSendIndication(make(65), 0, make(65).length, view)).toBe(false);
    expect(view.error).toBe(SendIndicationError.malformed);
  });
});

describe("writeDataIndicationHeader", () => {
  test("makes what encodeMessage makes, around the payload where it lies", () => {
    fc.assert(
      fc.property(
        anyAddress,
        anyTransactionId,
        fc.uint8Array({ maxLength: 40 }),
        fc.nat(9),
        (peer, transactionId, payload, extra) => {
          const at = stun.DATA_INDICATION_HEADROOM + extra;
          const buffer = new Uint8Array(at + payload.length + stun.DATA_INDICATION_TAILROOM + 1).fill(0xaa);
          buffer.set(payload, at);
          const start = stun.writeDataIndicationHeader(buffer, at, payload.length, peer, transactionId);
          const end = at + Math.ceil(payload.length / 4) * 4;
          const expected = stun.encodeMessage({
            class: "indication",
            method: "data",
            transactionId,
            attributes: [stun.attribute(stun.xorPeerAddress, peer), stun.attribute(stun.data, payload)],
          });
          expect([...buffer.subarray(start, end)]).toEqual([...expected]);
          expect(buffer.subarray(0, start).every((byte) => byte === 0xaa)).toBe(true);
          expect(buffer.subarray(end).every((byte) => byte === 0xaa)).toBe(true);
        },
      ),
    );
  });

  test("writes nothing where there is no room, or no length field that could say it", () => {
    const id = new Uint8Array(12).fill(1);
    const [four, six] = [stun.transportAddress("192.0.2.1", 1), stun.transportAddress("2001:db8::1", 1)];
    const buffer = new Uint8Array(48 + 65_536);
    expect(stun.writeDataIndicationHeader(buffer, 35, 4, four, id)).toBe(-1);
    expect(stun.writeDataIndicationHeader(buffer, 47, 4, six, id)).toBe(-1);
    expect(stun.writeDataIndicationHeader(buffer, buffer.length - 5, 5, four, id)).toBe(-1);
    expect(stun.writeDataIndicationHeader(buffer, 48, 65_517, four, id)).toBe(-1);
    expect(stun.writeDataIndicationHeader(buffer, 48, 65_505, six, id)).toBe(-1);
    expect(buffer.every((byte) => byte === 0)).toBe(true);
    expect(stun.writeDataIndicationHeader(buffer, 48, 65_504, six, id)).toBe(0);
    expect(stun.writeDataIndicationHeader(buffer, 48, 65_507, four, id)).toBe(12);
  });
});

test("nodeCrypto: HMAC over chunks is HMAC over their concatenation (RFC 2202 case 2, RFC 4231 case 2)", () => {
  const key = Buffer.from("Jefe");
  const chunks = ["what do ya want ", "for nothing?"].map((text) => Buffer.from(text));
  const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
  expect(hex(nodeCrypto.hmac("sha1", key, chunks))).toBe("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
  expect(hex(nodeCrypto.hmac("sha256", key, chunks))).toBe(
    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
  );
  expect(hex(nodeCrypto.digest("md5", Buffer.from("abc")))).toBe("900150983cd24fb0d6963f7d28e17f72");
  expect(hex(nodeCrypto.digest("sha256", Buffer.from("abc")))).toBe(
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
  );
});
