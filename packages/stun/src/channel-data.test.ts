import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { surround } from "../test/arbitraries.ts";
import { decodeChannelData, encodeChannelData, isChannelData, writeChannelDataHeader } from "./channel-data.ts";
import { isStun } from "./header.ts";

const channels = fc.integer({ min: 0x4000, max: 0x7fff });

describe("ChannelData", () => {
  test("decode after encode is the identity, padded or not", () => {
    fc.assert(
      fc.property(channels, fc.uint8Array({ maxLength: 50 }), fc.boolean(), (channel, data, padded) => {
        const bytes = encodeChannelData(channel, data, { padded });
        expect(bytes.length % 4 === 0 || !padded).toBe(true);
        const result = decodeChannelData(bytes);
        expect(result).toEqual({ ok: true, value: { channel, dataOffset: 4, dataLength: data.length } });
        expect([...bytes.subarray(4, 4 + data.length)]).toEqual([...data]);
        const header = new Uint8Array(6);
        writeChannelDataHeader(header, 1, channel, data.length);
        expect([...header]).toEqual([0, ...bytes.subarray(0, 4), 0]);
      }),
    );
  });

  test("decode takes any bytes and reads none outside", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 20 }), fc.integer({ min: 0, max: 0xff }), (bytes, first) => {
        if (bytes.length > 2) bytes.set([first, 0, 0], 0);
        const plain = decodeChannelData(bytes);
        for (const poison of [0x00, 0x40, 0xff]) {
          const { bytes: around, offset, length } = surround(bytes, poison);
          const walled = decodeChannelData(around, offset, length);
          if (plain.ok && walled.ok) {
            expect(walled.value).toEqual({ ...plain.value, dataOffset: plain.value.dataOffset + offset });
            expect(plain.value.dataOffset + plain.value.dataLength).toBeLessThanOrEqual(bytes.length);
          } else expect(walled).toEqual(plain);
        }
      }),
    );
  });

  test.each([
    ["tooShort", 0, [0x40, 0, 0]],
    ["notChannelData", 0, [0x00, 0, 0, 0]],
    ["notChannelData", 0, [0x80, 0, 0, 0]],
    ["lengthMismatch", 2, [0x40, 0, 0, 1]],
    ["lengthMismatch", 2, [0x40, 0, 0xff, 0xff, 1, 2, 3, 4]],
  ] as const)("%s at %i", (code, offset, bytes) => {
    expect(decodeChannelData(Uint8Array.from(bytes))).toEqual({ ok: false, error: { code, offset } });
  });

  test("what doesn't fit is refused", () => {
    expect(() => encodeChannelData(0x3fff, new Uint8Array(0))).toThrow(RangeError);
    expect(() => encodeChannelData(0x8000, new Uint8Array(0))).toThrow(RangeError);
    expect(() => encodeChannelData(0x4000, new Uint8Array(65_536))).toThrow(RangeError);
    expect(encodeChannelData(0x4000, new Uint8Array(65_535), { padded: true })).toHaveLength(65_540);
  });

  test("the first byte tells STUN, ChannelData and everything else apart", () => {
    for (let byte = 0; byte < 256; byte++) {
      expect([isStun(byte), isChannelData(byte)]).toEqual([byte < 0x40, byte >= 0x40 && byte < 0x80]);
    }
  });
});
