import { expect, test } from "vitest";
import { kernelStatusOf, kernelTables } from "./xdp-tables.ts";

const KERNEL = {
  interfaces: [
    { name: "eth0", mode: "native", attached: true, program: 17 },
    { name: "eth1", mode: "generic", attached: false, program: 18 },
  ],
  maps: [{ name: "turn_routes", id: 4, used: 2, entries: 32_768 }],
  channels: 1,
  maxChannels: 16_384,
  refused: 3,
  hops: { known: 2, unusable: 1 },
  traffic: { packetsToPeer: 600, bytesToPeer: 103_200, packetsToClient: 300, bytesToClient: 51_600 },
  outcomes: { relayedToPeer: 600, relayedToClient: 290, relayedHairpin: 10, noRoute: 99, tooLarge: 1 },
};

test("hits are what was relayed in the kernel, misses what went up", () => {
  const status = kernelStatusOf({ allocations: 1, kernel: KERNEL });
  expect(status).toEqual({ ...KERNEL, hits: 900, misses: 100 });
  expect(kernelStatusOf({ allocations: 1 })).toBeUndefined();
});

test("the tables show programs, maps and packets", () => {
  const status = kernelStatusOf({ kernel: KERNEL });
  const lines = (status === undefined ? "" : kernelTables(status)).split("\n");
  expect(lines).toContain("INTERFACE  MODE     PROGRAM  ATTACHED");
  expect(lines).toContain("eth0       native   17       yes");
  expect(lines).toContain("eth1       generic  18       no");
  expect(lines).toContain("turn_routes  4   2     32768");
  expect(lines).toContain("hit   600      from a client to a peer");
  expect(lines).toContain("miss  99       of no channel: requests, Send indications, other traffic");
  expect(lines).toContain("Relayed in the kernel: 900 packets (90.0 % of the UDP packets that came)");
  expect(lines).toContain("Channels: 1 of 16384; 3 left to the sockets");
  expect(lines).toContain("Ways out: 2, of which 1 can't be used at the moment");
});
