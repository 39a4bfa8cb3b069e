import { expect, test } from "vitest";
import type { Link, NetworkRoute } from "../kernel/netlink.ts";
import { hop } from "../program/layout.ts";
import type { Ip } from "./endpoint.ts";
import { NextHops, type NextHopSource } from "./next-hops.ts";

const ipv4 = (last: number): Ip => ({ family: 4, w0: 0, w1: 0, w2: 0xffff, w3: 0x0a000000 + last });
const RELAY = ipv4(1);
const LINK: Link = { index: 3, name: "eth0", address: Uint8Array.of(2, 0, 0, 0, 0, 1), mtu: 1500, kind: "" };

/** A machine with one gateway, 10.0.0.254; what it knows is the test's to change. */
class Machine implements NextHopSource {
  readonly used: string[] = [];
  way: NetworkRoute | undefined = { interface: 3, neighbour: Uint8Array.of(10, 0, 0, 254), mtu: 0 };
  linkAddress: Uint8Array | undefined = Uint8Array.of(2, 0, 0, 0, 0, 9);
  changed = false;

  linkByIndex(index: number): Link {
    return { ...LINK, index };
  }

  route(): NetworkRoute | undefined {
    return this.way;
  }

  neighbour(): Uint8Array | undefined {
    return this.linkAddress;
  }

  useNeighbour(link: number, address: Uint8Array): void {
    this.used.push(`${link} ${address.join(".")}`);
  }

  hasChanged(): boolean {
    const { changed } = this;
    this.changed = false;
    return changed;
  }
}

function start(entries = 4): { machine: Machine; hops: NextHops; memory: ArrayBuffer } {
  const machine = new Machine();
  const memory = new ArrayBuffer(entries * hop.size);
  const hops = new NextHops({ source: machine, map: { memory: () => memory }, entries, interfaces: [3] });
  return { machine, hops, memory };
}

/** An entry as the program reads it. */
function read(memory: ArrayBuffer, index = 0): { to: string; from: string; mtu: number; interface: number } {
  const bytes = new Uint8Array(memory, index * hop.size, hop.size);
  const view = new DataView(memory, index * hop.size, hop.size);
  const { destination, source, mtu, interface: link } = hop.field;
  return {
    to: bytes.subarray(destination.offset, destination.offset + 6).join(":"),
    from: bytes.subarray(source.offset, source.offset + 6).join(":"),
    mtu: view.getUint16(mtu.offset, true),
    interface: view.getUint32(link.offset, true),
  };
}

const FOUND = { to: "2:0:0:0:0:9", from: "2:0:0:0:0:1", mtu: 1500, interface: 3 };
const VOID = { to: "0:0:0:0:0:0", mtu: 0 };

test("an entry holds link addresses, MTU and interface; a path's smaller MTU wins", () => {
  const { machine, hops, memory } = start();
  expect(hops.take(RELAY, ipv4(7))).toBe(0);
  expect(read(memory)).toEqual(FOUND);
  machine.way = { interface: 3, neighbour: Uint8Array.of(10, 0, 0, 254), mtu: 1400 };
  machine.changed = true;
  hops.refresh();
  expect(read(memory)).toEqual({ ...FOUND, mtu: 1400 });
});

test("a neighbour that is lost voids the entry, one that is found or moves fills it", () => {
  const { machine, hops, memory } = start();
  hops.take(RELAY, ipv4(7));
  machine.linkAddress = undefined;
  hops.refresh();
  expect(read(memory)).toMatchObject(VOID);
  expect(hops.counts).toEqual({ known: 1, unusable: 1 });
  machine.linkAddress = Uint8Array.of(2, 0, 0, 0, 0, 8);
  hops.refresh();
  expect(read(memory)).toEqual({ ...FOUND, to: "2:0:0:0:0:8" });
});

test.each<readonly [string, NetworkRoute | undefined]>([
  ["is gone", undefined],
  ["leads through another interface", { interface: 4, neighbour: Uint8Array.of(10, 0, 0, 254), mtu: 0 }],
])("a way that %s is void until it is back", (_what, route) => {
  const { machine, hops, memory } = start();
  hops.take(RELAY, ipv4(7));
  const before = machine.way;
  machine.way = route;
  machine.changed = true;
  hops.refresh();
  expect(read(memory)).toMatchObject(VOID);
  machine.way = before;
  machine.changed = true;
  hops.refresh();
  expect(read(memory)).toEqual(FOUND);
});

test("the kernel is asked to look for each neighbour once a refresh, however many use it", () => {
  const { machine, hops } = start();
  hops.take(RELAY, ipv4(7));
  hops.take(RELAY, ipv4(8));
  machine.used.length = 0;
  hops.refresh();
  expect(machine.used).toEqual(["3 10.0.0.254"]);
});

test("one pair of addresses shares one entry, which is free after its last user", () => {
  const { hops, memory } = start(2);
  expect([hops.take(RELAY, ipv4(7)), hops.take(RELAY, ipv4(7)), hops.take(RELAY, ipv4(8))]).toEqual([0, 0, 1]);
  expect(hops.take(RELAY, ipv4(9))).toBeUndefined();
  hops.release(RELAY, ipv4(7));
  expect(read(memory)).toEqual(FOUND);
  hops.release(RELAY, ipv4(7));
  expect(read(memory)).toMatchObject(VOID);
  expect(hops.take(RELAY, ipv4(9))).toBe(0);
});
