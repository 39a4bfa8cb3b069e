import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type AddressClass, classifyAddress, createAddressPolicy } from "./address-policy.ts";

const literal = { spelledOut: true };
const resolved = { spelledOut: false };

const v4: readonly (readonly [string, AddressClass])[] = [
  ["0.0.0.0", "unspecified"],
  ["0.1.2.3", "reserved"],
  ["127.0.0.1", "loopback"],
  ["127.255.255.254", "loopback"],
  ["10.1.2.3", "private"],
  ["172.16.0.1", "private"],
  ["172.31.255.255", "private"],
  ["172.32.0.1", "global"],
  ["192.168.1.1", "private"],
  ["100.64.0.1", "shared"],
  ["100.127.255.255", "shared"],
  ["100.128.0.1", "global"],
  ["169.254.1.1", "link-local"],
  ["169.254.169.254", "metadata"],
  ["168.63.129.16", "metadata"],
  ["100.100.100.200", "metadata"],
  ["192.0.2.1", "reserved"],
  ["198.18.0.1", "reserved"],
  ["203.0.113.9", "reserved"],
  ["224.0.0.1", "multicast"],
  ["240.0.0.1", "reserved"],
  ["255.255.255.255", "reserved"],
  ["8.8.8.8", "global"],
];

describe("classes", () => {
  it.each(v4)("%s is %s", (address, expected) => {
    expect(classifyAddress(address)).toBe(expected);
  });

  const v6: readonly (readonly [string, AddressClass])[] = [
    ["::", "unspecified"],
    ["::1", "loopback"],
    ["fe80::1", "link-local"],
    ["fc00::1", "private"],
    ["fdff::1", "private"],
    ["fd00:ec2::254", "metadata"],
    ["ff02::1", "multicast"],
    ["2001:db8::1", "reserved"],
    ["4000::1", "reserved"],
    ["100::1", "reserved"],
    ["2606:4700::1111", "global"],
    ["2002:808:808::1", "reserved"],
    ["64:ff9b:1::808:808", "reserved"],
    ["::808:808", "reserved"],
  ];
  it.each(v6)("%s is %s", (address, expected) => {
    expect(classifyAddress(address)).toBe(expected);
  });

  it("sees through every way to write an IPv4 address into an IPv6 one", () => {
    const parts = (address: string): readonly number[] => address.split(".").map(Number);
    const pair = (high = 0, low = 0): string => ((high << 8) | low).toString(16);
    const words = (address: string, invert = 0): string => {
      const [a = 0, b = 0, c = 0, d = 0] = parts(address).map((byte) => byte ^ invert);
      return `${pair(a, b)}:${pair(c, d)}`;
    };
    for (const [address, kind] of v4) {
      if (kind === "global" || kind === "unspecified") continue;
      for (const wrapped of [
        `::ffff:${address}`,
        `64:ff9b::${words(address)}`,
        `64:ff9b:1::${words(address)}`,
        `2002:${words(address)}::1`,
        `2001:0:a:b:c:d:${words(address, 0xff)}`,
        `2606:4700::5efe:${words(address)}`,
        `::ffff:0:${words(address)}`,
      ]) {
        expect([wrapped, classifyAddress(wrapped)]).toEqual([wrapped, kind]);
      }
    }
    expect(classifyAddress("::ffff:8.8.8.8")).toBe("global");
    expect(classifyAddress("64:ff9b::808:808")).toBe("global");
  });
});

describe("policy", () => {
  it("refuses by default what is not global", () => {
    const policy = createAddressPolicy();
    for (const [address, kind] of v4) {
      expect([address, policy.refusal(address, literal) === undefined]).toEqual([address, kind === "global"]);
    }
  });

  it("tells an address that the hint spells from one that a name led to", () => {
    const policy = createAddressPolicy({ privateAddresses: "literal" });
    expect(policy.refusal("127.0.0.1", literal)).toBeUndefined();
    expect(policy.refusal("127.0.0.1", resolved)).toContain("a name led to it");
    expect(policy.refusal("169.254.169.254", literal)).toContain("metadata");
    expect(policy.refusal("0.0.0.0", literal)).toContain("unspecified");
    expect(createAddressPolicy({ privateAddresses: "allowed" }).refusal("10.0.0.1", resolved)).toBeUndefined();
  });

  it("in both lists, allow wins", () => {
    const policy = createAddressPolicy({ allow: ["10.1.0.0/16", "fd00::/8"], deny: ["10.0.0.0/8", "8.8.8.0/24"] });
    expect(policy.refusal("10.1.2.3", resolved)).toBeUndefined();
    expect(policy.refusal("::ffff:10.1.2.3", resolved)).toBeUndefined();
    expect(policy.refusal("fd12::1", resolved)).toBeUndefined();
    expect(policy.refusal("10.2.0.1", resolved)).toContain("deny");
    expect(policy.refusal("8.8.8.8", literal)).toContain("deny");
    expect(policy.refusal("8.8.4.4", literal)).toBeUndefined();
  });

  it("asks only global and allowed addresses of Tor or a proxy", () => {
    const policy = createAddressPolicy({ privateAddresses: "allowed", allow: ["10.0.0.5"] });
    expect(policy.remoteRefusal("10.0.0.5")).toBeUndefined();
    expect(policy.remoteRefusal("8.8.8.8")).toBeUndefined();
    for (const address of ["10.0.0.6", "127.0.0.1", "::1", "192.168.0.1", "169.254.169.254", "::ffff:10.0.0.6"]) {
      expect([address, policy.remoteRefusal(address)]).toEqual([address, expect.any(String)]);
    }
  });

  it.each(["10.0.0.0/33", "10.0.0/8", "::/129", "x", "10.0.0.0/8/8", "10.0.0.0/", "fe80::1%eth0", "10.0.0.0/-1", ""])(
    "stops at the malformed prefix %j",
    (prefix) => {
      expect(() => createAddressPolicy({ deny: [prefix] })).toThrow(TypeError);
    },
  );

  it("compares prefixes as numbers", () => {
    fc.assert(
      fc.property(fc.nat(2 ** 32 - 1), fc.nat(2 ** 32 - 1), fc.integer({ min: 0, max: 32 }), (base, other, length) => {
        const text = (value: number): string => [24, 16, 8, 0].map((shift) => (value >>> shift) & 0xff).join(".");
        const inside = length === 0 || base >>> (32 - length) === other >>> (32 - length);
        const policy = createAddressPolicy({ deny: [`${text(base)}/${length}`], privateAddresses: "allowed" });
        expect(policy.refusal(text(other), literal)?.includes("deny") ?? false).toBe(inside);
      }),
    );
  });
});
