import { isIP } from "node:net";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ipAddress, transportAddress as anyTransportAddress } from "../test/arbitraries.ts";
import {
  formatIpAddress,
  formatTransportAddress,
  ipBytes,
  ipFromBytes,
  parseIpAddress,
  parseTransportAddress,
  sameIp,
  sameTransportAddress,
  transportAddress,
  withPort,
} from "./ip-text.ts";

describe("parseIpAddress", () => {
  test.each([
    ["0.0.0.0", "0.0.0.0"],
    ["255.255.255.255", "255.255.255.255"],
    ["::", "::"],
    ["::1", "::1"],
    ["1::", "1::"],
    ["2001:DB8:0:0:8:800:200C:417A", "2001:db8::8:800:200c:417a"],
    ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"],
    ["::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"],
    ["::ffff:192.0.2.1", "::ffff:192.0.2.1"],
    ["::ffff:c000:201", "::ffff:192.0.2.1"],
    ["64:ff9b::192.0.2.33", "64:ff9b::c000:221"],
    ["1:2:3:4:5:6:77.77.88.88", "1:2:3:4:5:6:4d4d:5858"],
    ["ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
  ])("%s is %s", (text, canonical) => {
    const ip = parseIpAddress(text);
    expect(ip && formatIpAddress(ip)).toBe(canonical);
  });

  test.each([
    "",
    "1",
    "1.2.3",
    "1.2.3.4.5",
    "1.2.3.256",
    "01.2.3.4",
    "1.2.3.4 ",
    "1.2.3.-4",
    "1..2.3",
    "0x1.2.3.4",
    ":",
    ":::",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "1::2::3",
    "1:2:3:4:5:6:7:8::",
    "::1:2:3:4:5:6:7:8",
    ":1:2:3:4:5:6:7:8",
    "1:2:3:4:5:6:7:",
    "12345::",
    "g::",
    "fe80::1%eth0",
    "[::1]",
    "::1/128",
    "::1.2.3",
    "::1.2.3.4:5",
    "1:2:3:4:5:6:7:1.2.3.4",
    "::@",
    "::`",
    "\u0661.2.3.4",
    "1".repeat(10_000),
    ":".repeat(10_000),
  ])("refuses %j", (text) => {
    expect(parseIpAddress(text)).toBeUndefined();
  });

  test("an IPv4 address isn't the IPv4-mapped IPv6 address", () => {
    const [four, six] = [transportAddress("192.0.2.1", 1), transportAddress("::ffff:192.0.2.1", 1)];
    expect({ ...six, family: 4 }).toEqual(four);
    expect(sameIp(four, six)).toBe(false);
    expect(sameTransportAddress(four, six)).toBe(false);
  });

  test("agrees with the platform on what an address is", () => {
    const piece = fc.constantFrom(":", "::", ".", "0", "1", "ff", "1234", "255", "256", "00", "g", "1.2.3.4");
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 17 }), (pieces) => {
        const text = pieces.join("");
        expect(parseIpAddress(text)?.family ?? 0).toBe(isIP(text));
      }),
      { numRuns: 2000 },
    );
    fc.assert(fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (text) => parseIpAddress(text)?.family === isIP(text)));
  });
});

test("parse after format is the identity, and the text is the canonical one", () => {
  fc.assert(
    fc.property(ipAddress, (ip) => {
      expect(parseIpAddress(formatIpAddress(ip))).toEqual(ip);
      // The URL standard serializes IPv6 as RFC 5952 §4 does, but for the mixed notation of §5.
      const text = formatIpAddress(ip);
      if (ip.family === 6 && !text.includes(".")) expect(new URL(`http://[${text}]`).hostname).toBe(`[${text}]`);
    }),
  );
  fc.assert(
    fc.property(anyTransportAddress, (address) => {
      expect(parseTransportAddress(formatTransportAddress(address))).toEqual(address);
      expect(sameTransportAddress(address, withPort(address, address.port))).toBe(true);
      expect(sameTransportAddress(address, withPort(address, address.port ^ 1))).toBe(false);
    }),
  );
});

test("bytes and back", () => {
  fc.assert(
    fc.property(ipAddress, fc.nat(8), (ip, offset) => {
      const around = Uint8Array.of(...Array.from({ length: offset }, () => 0xaa), ...ipBytes(ip), 0xaa);
      expect(ipFromBytes(around, offset, ip.family)).toEqual(ip);
      expect(ipBytes(ip)).toHaveLength(ip.family === 4 ? 4 : 16);
    }),
  );
  expect(() => ipFromBytes(new Uint8Array(3), 0, 4)).toThrow(RangeError);
  expect(() => ipFromBytes(new Uint8Array(20), 5, 6)).toThrow(RangeError);
  expect(() => ipFromBytes(new Uint8Array(20), -1, 4)).toThrow(RangeError);
});

describe("parseTransportAddress", () => {
  test.each(["1.2.3.4", "1.2.3.4:", "1.2.3.4:65536", "1.2.3.4:080", "1.2.3.4:+80", "::1:80", "[::1]", "[::1]80"])(
    "refuses %j",
    (text) => {
      expect(parseTransportAddress(text)).toBeUndefined();
    },
  );
  test.each(["[1.2.3.4]:80", "[::1:80", "::1]:80", "[]:80", ":80", "1.2.3.4:80 "])("refuses %j", (text) => {
    expect(parseTransportAddress(text)).toBeUndefined();
  });
});

describe("transportAddress", () => {
  test("throws what is wrong", () => {
    expect(() => transportAddress("localhost", 1)).toThrow(
      new TypeError('Cannot parse IP address "localhost": expected IPv4 (192.0.2.1) or IPv6 (2001:db8::1)'),
    );
    expect(() => transportAddress("::1", 65_536)).toThrow(RangeError);
    expect(() => transportAddress("::1", 1.5)).toThrow(RangeError);
  });
});
