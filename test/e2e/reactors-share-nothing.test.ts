import { type BatchedRelay, loadLibc, type PlaneCounterName } from "@turnpike/relay";
import { encodeChannelData, type TransportAddress } from "@turnpike/stun";
import { afterEach, expect, test, vi } from "vitest";
import { startBatchedTestRelay } from "../support/batched-relay.ts";
import { Generator, InlineRelay } from "../support/inline-relay.ts";
import { allocated, bytes, openClient, openPeer } from "../support/relay.ts";
import type { UdpPeer } from "../support/udp-peer.ts";
import type { UdpTurnClient } from "../support/udp-turn-client.ts";

const libc = loadLibc();
const CHANNEL = 0x4000;
const REACTORS = 2;
const MAX_CLIENTS = 64;
/** What a reactor that has nothing to do writes now and then. */
const IDLE: readonly PlaneCounterName[] = ["turns", "systemCalls"];
const WRITERS = ["add", "and", "compareExchange", "exchange", "or", "store", "sub", "xor"] as const;

interface Way {
  readonly client: UdpTurnClient;
  readonly peer: UdpPeer;
  readonly relayed: TransportAddress;
}

afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

if ("unavailable" in libc) {
  test("there are no reactors on threads here", () => {
    expect(libc.unavailable.length).toBeGreaterThan(20);
  });
} else {
  test("of all the memory that threads share, relaying changes only the counters of the reactor that relays", async () => {
    const memories: SharedArrayBuffer[] = [];
    class Recorded extends SharedArrayBuffer {
      constructor(length: number) {
        super(length);
        memories.push(this);
      }
    }
    vi.stubGlobal("SharedArrayBuffer", Recorded);
    const relay = await startBatchedTestRelay({ libc, threads: REACTORS });
    const ways = await openWays(relay);
    for (const { counters } of relay.reactors) expect(memories).toContain(counters.memory);
    // Ports, hairpins, rates of sources and actors, descriptors, gauges, what events are wanted, messages.
    expect(memories.length).toBeGreaterThan(REACTORS * 2);
    for (const [index, way] of ways.entries()) {
      await settled(memories, relay);
      const before = memories.map(copyOf);
      const counts = relay.reactors.map(({ counters }) => counters.snapshot());
      await relaySome(way, 500);
      const changed = memories.filter((memory, place) => !Buffer.from(memory).equals(before[place] ?? Buffer.of()));
      expect(changed).toContain(relay.reactors[index]?.counters.memory);
      const allowed = relay.reactors.map(({ counters }) => counters.memory);
      expect(changed.filter((memory) => !allowed.includes(memory))).toEqual([]);
      for (const [other, { counters }] of relay.reactors.entries()) {
        const now = counters.snapshot();
        if (other === index) expect(now.packetsToPeers).toBe((counts[other]?.packetsToPeers ?? 0) + 500);
        else expect({ ...now, ...pick(counts[other], IDLE) }).toEqual(counts[other]);
      }
    }
  });

  test("relaying calls nothing of Atomics but to read", () => {
    const writers = WRITERS.map((name) => vi.spyOn(Atomics, name));
    const calls = (): number => writers.reduce((sum, writer) => sum + writer.mock.calls.length, 0);
    const relay = new InlineRelay({ libc });
    const generator = new Generator(libc, relay);
    for (let index = 0; index < 8; index++) generator.addFlow(CHANNEL + index);
    // A port was leased for each, in memory that reactors share.
    expect(calls()).toBeGreaterThanOrEqual(8);
    const before = calls();
    for (const flow of generator.flows) {
      for (let copy = 0; copy < 4; copy++) generator.send(flow, encodeChannelData(flow.channel, new Uint8Array(172)));
    }
    const { values } = relay.plane.counters;
    const relayed = (): number => (values[0] ?? 0) + (values[4] ?? 0);
    const start = relayed();
    for (let idleTurns = 0; relayed() - start < 20_000;) {
      // A busy machine may keep packets between the sockets for a moment; they are lost if they stay away.
      idleTurns = relay.turn(0) + generator.plane.turn(0) === 0 ? idleTurns + 1 : 0;
      if (idleTurns > 500_000) throw new Error("Packets were lost");
    }
    expect(calls()).toBe(before);
    void generator.plane.stop();
    void relay.plane.stop();
  });
}

/** A client with a channel to a peer on each reactor, in their order. */
async function openWays(relay: BatchedRelay): Promise<readonly Way[]> {
  const ways = new Map<number, Way>();
  for (let tried = 0; ways.size < REACTORS && tried < MAX_CLIENTS; tried++) {
    const before = relay.reactors.map(({ counters }) => counters.snapshot().packetsFromClients);
    const client = await openClient(relay);
    const peer = await openPeer();
    const relayed = await allocated(client);
    expect(await client.bind(CHANNEL, peer.local)).toBe("success");
    const index = relay.reactors.findIndex(
      ({ counters }, place) => counters.snapshot().packetsFromClients !== before[place],
    );
    ways.set(index, { client, peer, relayed });
  }
  expect([...ways.keys()].toSorted((a, b) => a - b)).toEqual(relay.reactors.map((_, index) => index));
  return [...ways].toSorted(([a], [b]) => a - b).map(([, way]) => way);
}

/** Relays packets both ways, one at a time. */
async function relaySome({ client, peer, relayed }: Way, count: number): Promise<void> {
  for (let index = 0; index < count; index++) {
    client.sendOn(CHANNEL, bytes(172, index));
    expect([...(await peer.receive()).bytes]).toEqual([...bytes(172, index)]);
    peer.send(bytes(160, index), relayed);
    expect((await client.receive()).bytes.length).toBe(164);
  }
}

/** Resolves when nothing but the counters of idle reactors changes. */
async function settled(memories: readonly SharedArrayBuffer[], relay: BatchedRelay): Promise<void> {
  const own = relay.reactors.map(({ counters }) => counters.memory);
  const others = memories.filter((memory) => !own.includes(memory));
  let before = others.map(copyOf);
  await expect
    .poll(
      () => {
        const now = others.map(copyOf);
        const isSame = now.every((copy, index) => copy.equals(before[index] ?? Buffer.of()));
        before = now;
        return isSame;
      },
      { timeout: 30_000, interval: 200 },
    )
    .toBe(true);
}

function copyOf(memory: SharedArrayBuffer): Buffer {
  return Buffer.from(Buffer.from(memory));
}

function pick<Name extends string>(
  from: Readonly<Record<Name, number>> | undefined,
  names: readonly Name[],
): Partial<Record<Name, number>> {
  return Object.fromEntries(names.map((name) => [name, from?.[name] ?? 0])) as Partial<Record<Name, number>>;
}
