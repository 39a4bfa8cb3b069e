import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { attributeCases, bytes, transactionId } from "../../test/arbitraries.ts";
import * as stun from "../index.ts";

const context = { transactionId: new Uint8Array(12) };

describe.each(Object.entries(attributeCases))("%s", (name, withCase) => {
  withCase(({ codec, values }) => {
    test("is in the registry", () => {
      expect(Object.entries(stun.attributes).find(([key]) => key === name)?.[1]).toMatchObject({
        number: codec.type,
        name: codec.name,
      });
    });

    test("decode after encode is the identity", () => {
      fc.assert(
        fc.property(values, transactionId, (value, id) => {
          const encoded = codec.encode(value, { transactionId: id });
          expect(codec.decode(encoded, { transactionId: id })).toEqual({ ok: true, value });
        }),
      );
    });

    test("decode takes any bytes, reads none outside, and what it takes it can encode", () => {
      fc.assert(
        fc.property(bytes(0, 40), transactionId, (value, id) => {
          const walled = [0x00, 0xff].map((poison) => {
            const around = new Uint8Array(value.length + 32).fill(poison);
            around.set(value, 16);
            return codec.decode(around.subarray(16, 16 + value.length), { transactionId: id });
          });
          expect(walled[0]).toEqual(walled[1]);
          const result = codec.decode(value, { transactionId: id });
          expect(result).toEqual(walled[0]);
          if (!result.ok) return;
          const again = codec.decode(codec.encode(result.value, { transactionId: id }), { transactionId: id });
          expect(again).toEqual(result);
        }),
      );
    });
  });
});

describe("wire form", () => {
  test.each([
    ["LIFETIME", stun.attribute(stun.lifetime, 600), "00000258"],
    ["CHANNEL-NUMBER", stun.attribute(stun.channelNumber, 0x4001), "40010000"],
    ["REQUESTED-TRANSPORT", stun.attribute(stun.requestedTransport, stun.transportProtocols.udp), "11000000"],
    ["EVEN-PORT with R", stun.attribute(stun.evenPort, true), "80"],
    ["REQUESTED-ADDRESS-FAMILY", stun.attribute(stun.requestedAddressFamily, 6), "02000000"],
    ["ADDITIONAL-ADDRESS-FAMILY", stun.attribute(stun.additionalAddressFamily, 6), "02000000"],
    ["DONT-FRAGMENT", stun.attribute(stun.dontFragment, true), ""],
    ["ERROR-CODE", stun.attribute(stun.errorCode, { code: 438, reason: "Stale" }), "000004265374616c65"],
    [
      "ADDRESS-ERROR-CODE",
      stun.attribute(stun.addressErrorCode, { family: 6, code: 440, reason: "No" }),
      "020004284e6f",
    ],
    ["ICMP", stun.attribute(stun.icmp, { icmpType: 3, icmpCode: 4, errorData: 1400 }), "0000060400000578"],
    ["UNKNOWN-ATTRIBUTES", stun.attribute(stun.unknownAttributes, [0x0031, 0x7fff, 0x0040]), "00317fff0040"],
    ["CHANGE-REQUEST", stun.attribute(stun.changeRequest, { changeIp: true, changePort: true }), "00000006"],
    ["ICE-CONTROLLING", stun.attribute(stun.iceControlling, 0x0102030405060708n), "0102030405060708"],
    ["MAPPED-ADDRESS", stun.attribute(stun.mappedAddress, stun.transportAddress("192.0.2.1", 80)), "00010050c0000201"],
    [
      "XOR-MAPPED-ADDRESS",
      stun.attribute(stun.xorMappedAddress, stun.transportAddress("192.0.2.1", 32_853)),
      "0001a147e112a643",
    ],
    [
      "PASSWORD-ALGORITHMS",
      stun.attribute(stun.passwordAlgorithms, [
        { algorithm: stun.passwordAlgorithmNumbers.sha256, parameters: new Uint8Array(0) },
        { algorithm: stun.passwordAlgorithmNumbers.md5, parameters: Uint8Array.of(9) },
      ]),
      "000200000001000109000000",
    ],
  ])("%s", (_name, attribute, expected) => {
    expect(Buffer.from(attribute.encode(context)).toString("hex")).toBe(expected);
  });
});

describe("values that can't be encoded", () => {
  test.each<[string, () => stun.EncodedAttribute]>([
    ["a negative LIFETIME", () => stun.attribute(stun.lifetime, -1)],
    ["a fractional LIFETIME", () => stun.attribute(stun.lifetime, 0.5)],
    ["a LIFETIME of 33 bits", () => stun.attribute(stun.lifetime, 2 ** 32)],
    ["a CHANNEL-NUMBER of 17 bits", () => stun.attribute(stun.channelNumber, 0x10000)],
    ["a USERNAME of 509 bytes", () => stun.attribute(stun.username, "x".repeat(509))],
    ["a REALM of 128 characters", () => stun.attribute(stun.realm, "x".repeat(128))],
    ["ERROR-CODE 700", () => stun.attribute(stun.errorCode, { code: 700, reason: "" })],
    ["ERROR-CODE 299", () => stun.attribute(stun.errorCode, { code: 299, reason: "" })],
    ["a RESERVATION-TOKEN of 7 bytes", () => stun.attribute(stun.reservationToken, new Uint8Array(7))],
    ["a USERHASH of 31 bytes", () => stun.attribute(stun.userhash, new Uint8Array(31))],
    ["ICE-CONTROLLED of 65 bits", () => stun.attribute(stun.iceControlled, 1n << 64n)],
  ])("%s", (_name, make) => {
    expect(() => make().encode(context)).toThrow(RangeError);
  });

  test("text with a lone surrogate", () => {
    expect(() => stun.attribute(stun.username, "\ud800").encode(context)).toThrow(TypeError);
  });

  test("an ALTERNATE-DOMAIN that isn't ASCII", () => {
    expect(() => stun.attribute(stun.alternateDomain, "exämple.org").encode(context)).toThrow(TypeError);
  });
});

describe("values that can't be decoded", () => {
  const decode = <T>(codec: stun.AttributeCodec<T>, hex: string): stun.AttributeResult<T> =>
    codec.decode(Buffer.from(hex, "hex"), context);
  const error = (code: stun.AttributeErrorCode, offset: number): unknown => ({ ok: false, error: { code, offset } });

  test.each([
    ["family 3", "0003a147e112a643", "badFamily", 1],
    ["an IPv4 family with 16 bytes of address", "0001a14700".repeat(16), "wrongLength", 0],
    ["an IPv6 family with 4 bytes of address", "0002a147e112a643", "wrongLength", 0],
    ["no bytes", "", "wrongLength", 0],
  ] as const)("XOR-MAPPED-ADDRESS of %s", (_name, hex, code, offset) => {
    expect(decode(stun.xorMappedAddress, hex)).toEqual(error(code, offset));
    expect(decode(stun.mappedAddress, hex)).toEqual(error(code, offset));
  });

  test.each([
    ["class 7", "00000700", "badValue", 2],
    ["class 2", "00000200", "badValue", 2],
    ["number 100", "00000464", "badValue", 3],
    ["three bytes", "000004", "wrongLength", 0],
    ["a reason that isn't UTF-8", "00000400ff", "badUtf8", 4],
    ["a reason of 128 characters", "0000040041".repeat(128), "tooLong", 4],
  ] as const)("ERROR-CODE of %s", (_name, hex, code, offset) => {
    expect(decode(stun.errorCode, hex)).toEqual(error(code, offset));
  });

  test("reserved bits of ERROR-CODE are ignored", () => {
    expect(decode(stun.errorCode, "fffffc26")).toEqual({ ok: true, value: { code: 438, reason: "" } });
  });

  test("text that is too long or isn't UTF-8", () => {
    expect(decode(stun.username, "41".repeat(508)).ok).toBe(true);
    expect(decode(stun.username, "41".repeat(509))).toEqual(error("tooLong", 508));
    expect(decode(stun.nonce, "41".repeat(127)).ok).toBe(true);
    expect(decode(stun.nonce, "41".repeat(128))).toEqual(error("tooLong", 0));
    expect(decode(stun.realm, "41".repeat(764))).toEqual(error("tooLong", 763));
    for (const bad of ["ff", "c0af", "eda080", "f4908080", "41c3", "80"]) {
      expect(decode(stun.username, bad)).toEqual(error("badUtf8", 0));
    }
    expect(decode(stun.username, "efbbbf41")).toEqual({ ok: true, value: "\ufeffA" });
    expect(decode(stun.username, "0041")).toEqual({ ok: true, value: "\u0000A" });
  });

  test("PASSWORD-ALGORITHMS whose parameters reach past the end", () => {
    expect(decode(stun.passwordAlgorithms, "00020004aabbcc")).toEqual(error("wrongLength", 0));
    expect(decode(stun.passwordAlgorithms, "000200")).toEqual(error("wrongLength", 0));
    expect(decode(stun.passwordAlgorithm, "0002000000010000")).toEqual(error("wrongLength", 0));
  });

  test("an address family that isn't one", () => {
    expect(decode(stun.requestedAddressFamily, "03000000")).toEqual(error("badFamily", 0));
    expect(decode(stun.addressErrorCode, "03000428")).toEqual(error("badFamily", 0));
  });
});
