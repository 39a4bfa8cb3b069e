import { AddressRegister, formatTransportAddress, parseIpAddress, transportAddress } from "@turnpike/stun";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { HairpinMap } from "./hairpin-map.ts";
import { joinRelayAddresses, parseExternalAddress } from "./relay-address.ts";

const ip = (text: string) => {
  const parsed = parseIpAddress(text);
  if (parsed === undefined) {
    throw new TypeError(`no address: ${text}`);
  }
  return parsed;
};

const relayAddresses = joinRelayAddresses(
  [ip("10.0.0.5"), ip("10.0.0.6"), ip("2001:db8::5")],
  [parseExternalAddress("203.0.113.5/10.0.0.5")],
);
const create = (memory?: SharedArrayBuffer): HairpinMap =>
  new HairpinMap({ relayAddresses, ownAddresses: [ip("192.0.2.9"), ip("10.0.0.5")], ...(memory && { memory }) });

describe("HairpinMap", () => {
  test("knows the relay's addresses, both halves of an external one included", () => {
    const map = create();
    for (const own of ["10.0.0.5", "203.0.113.5", "10.0.0.6", "2001:db8::5", "192.0.2.9"]) {
      expect(map.isOwn(ip(own)), own).toBe(true);
    }
    for (const other of ["10.0.0.7", "2001:db8::6", "::ffff:10.0.0.5", "203.0.113.6"]) {
      expect(map.isOwn(ip(other)), other).toBe(false);
    }
  });

  test("a relayed transport address lives by its public half only", () => {
    const map = create();
    map.setLive(0, 50_000, true);
    expect(map.isLive(transportAddress("203.0.113.5", 50_000))).toBe(true);
    expect(map.isLive(transportAddress("203.0.113.5", 50_001))).toBe(false);
    expect(map.isLive(transportAddress("10.0.0.5", 50_000))).toBe(false);
    expect(map.isLive(transportAddress("10.0.0.6", 50_000))).toBe(false);
    expect(map.isLive(transportAddress("198.51.100.1", 50_000))).toBe(false);
    map.setLive(0, 50_000, false);
    expect(map.isLive(transportAddress("203.0.113.5", 50_000))).toBe(false);
  });

  test("translates between the halves, and leaves other addresses alone", () => {
    const map = create();
    const out = new AddressRegister();
    expect(map.toLocal(transportAddress("203.0.113.5", 7), out)).toBe(true);
    expect(formatTransportAddress(out)).toBe("10.0.0.5:7");
    expect(map.toRelayed(transportAddress("10.0.0.5", 8), out)).toBe(true);
    expect(formatTransportAddress(out)).toBe("203.0.113.5:8");
    expect(map.toLocal(transportAddress("10.0.0.6", 9), out)).toBe(false);
    expect(map.toRelayed(transportAddress("10.0.0.6", 9), out)).toBe(false);
    expect(map.toRelayed(transportAddress("203.0.113.5", 9), out)).toBe(false);
    expect(formatTransportAddress(out)).toBe("203.0.113.5:8");
  });

  test("reactors that share memory see each other's ports, as a set of ports says", () => {
    const maps = [create()];
    maps.push(create(maps[0]?.memory));
    const model = new Set<string>();
    const relayed = ["203.0.113.5", "10.0.0.6", "2001:db8::5"];
    const port = fc.oneof(fc.nat(65_535), fc.integer({ min: 31, max: 33 }));
    fc.assert(
      fc.property(fc.nat(1), fc.nat(2), port, fc.boolean(), port, (writer, index, changed, live, asked) => {
        maps.at(writer)?.setLive(index, changed, live);
        const name = relayed.at(index) ?? "";
        model[live ? "add" : "delete"](`${name} ${changed}`);
        for (const map of maps) {
          for (const each of [changed, asked]) {
            expect(map.isLive(transportAddress(name, each))).toBe(model.has(`${name} ${each}`));
          }
        }
      }),
      { numRuns: 1000 },
    );
  });

  test("refuses memory of other relay addresses", () => {
    expect(() => create(new SharedArrayBuffer(8))).toThrow("24576 are needed");
  });
});
