import { getHeapStatistics } from "node:v8";
import { loadLibc } from "@turnpike/relay";
import { encodeChannelData } from "@turnpike/stun";
import { expect, test } from "vitest";
import { Generator, InlineRelay } from "../support/inline-relay.ts";

/** At most: a busy machine takes more of them. */
const ROUNDS = 12;

const libc = loadLibc();

if ("unavailable" in libc) {
  test("there is no batched data path to measure here", () => {
    expect(libc.unavailable.length).toBeGreaterThan(20);
  });
} else {
  test("relaying allocates nothing: not a byte of heap a packet", () => {
    const relay = new InlineRelay({ libc });
    const generator = new Generator(libc, relay);
    for (let index = 0; index < 32; index++) generator.addFlow(0x4000 + (index % 8));
    // Each packet runs in circles: client, relay, peer, relay, client.
    for (const flow of generator.flows) {
      for (let copy = 0; copy < 4; copy++) generator.send(flow, encodeChannelData(flow.channel, new Uint8Array(172)));
    }
    const circle = (packets: number): number => {
      const { values } = relay.plane.counters;
      const start = (values[0] ?? 0) + (values[4] ?? 0);
      let relayed = 0;
      let idleTurns = 0;
      while (relayed < packets) {
        // A busy machine may keep packets between the sockets for a moment; they are lost if they stay away.
        idleTurns = relay.turn(0) + generator.plane.turn(0) === 0 ? idleTurns + 1 : 0;
        if (idleTurns > 500_000) throw new Error("Packets were lost");
        relayed = (values[0] ?? 0) + (values[4] ?? 0) - start;
      }
      return relayed;
    };
    // The code is compiled, the tables have their size.
    circle(200_000);
    // What the compiler and the runner take meanwhile is no part of a packet: what is would be in every round, with 16
    // bytes at the least.
    let bytesPerPacket = Number.POSITIVE_INFINITY;
    for (let round = 0; round < ROUNDS && bytesPerPacket >= 0.5; round++) {
      const before = getHeapStatistics().total_allocated_bytes;
      const relayed = circle(500_000);
      bytesPerPacket = Math.min(bytesPerPacket, (getHeapStatistics().total_allocated_bytes - before) / relayed);
    }
    expect(bytesPerPacket).toBeLessThan(0.5);
    void generator.plane.stop();
    void relay.plane.stop();
  }, 120_000);
}
