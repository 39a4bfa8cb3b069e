/** Threads that die again and again, and relays that start and stop: nothing hangs, nothing is left. */
import { readdirSync } from "node:fs";
import { type BatchedRelay, loadLibc } from "@turnpike/relay";
import { expect, test } from "vitest";
import { Ledger } from "../sim/model/ledger.ts";
import { startBatchedTestRelay } from "../support/batched-relay.ts";
import { allocated, bytes, openClient, openPeer } from "../support/relay.ts";
import type { UdpTurnClient } from "../support/udp-turn-client.ts";

const libc = loadLibc();
/** Deaths; starts and stops; more of them by hand. */
const CRASHES = Number(process.env["TURNPIKE_CRASHES"] ?? 6);
const CYCLES = Number(process.env["TURNPIKE_START_CYCLES"] ?? 6);

if ("unavailable" in libc) {
  test("elsewhere than on linux-x64 with glibc, there are no threads to die", () => {
    expect(libc.unavailable.length).toBeGreaterThan(20);
  });
} else {
  const descriptors = (): number => readdirSync("/dev/fd").length;
  /** Which thread has a client's allocation. */
  const allocateOn = async (relay: BatchedRelay, client: UdpTurnClient): Promise<number> => {
    const before = relay.reactors.map((reactor) => reactor.gauge(0));
    await allocated(client);
    return relay.reactors.findIndex((reactor, index) => reactor.gauge(0) !== before[index]);
  };

  test("one of four threads dies under load, again and again: the others relay on, and all is freed", async () => {
    const before = descriptors();
    const ledger = new Ledger();
    const relay = await startBatchedTestRelay({ libc, onEvent: (event) => ledger.take({ kind: "event", event }) });
    const peer = await openPeer();
    const clients: { readonly client: UdpTurnClient; readonly thread: number }[] = [];
    while (new Set(clients.map(({ thread }) => thread)).size < 3) {
      const client = await openClient(relay);
      clients.push({ client, thread: await allocateOn(relay, client) });
      expect(await client.bind(0x4000, peer.local)).toBe("success");
    }
    // One thread keeps its allocations for the whole test; the others die in turns.
    const [spared = 0, ...victims] = new Set(clients.map(({ thread }) => thread));
    const steady = clients.filter(({ thread }) => thread === spared);
    const load = setInterval(() => {
      for (const { client } of clients) client.sendOn(0x4000, bytes(500));
    }, 1);
    for (let crash = 0; crash < CRASHES; crash++) {
      const victim = relay.reactors[victims[crash % victims.length] ?? 0];
      const died = victim?.reactor;
      await victim?.kill();
      await expect.poll(() => victim?.reactor, { timeout: 60_000 }).not.toBe(died);
      for (const { client } of steady) {
        client.sendOn(0x4000, bytes(20 + crash));
        while ((await peer.receive()).bytes.length !== 20 + crash);
      }
    }
    clearInterval(load);
    await expect.poll(() => ledger.living, { timeout: 60_000 }).toBe(steady.length);
    expect(relay.stats()).toMatchObject({ allocations: steady.length, portsInUse: steady.length });
    await relay.stop();
    ledger.close();
    await Promise.all([peer, ...clients.map(({ client }) => client)].map((each) => each.close()));
    expect(descriptors()).toBe(before);
  });

  test("a thread that dies while the relay drains comes back draining", async () => {
    const relay = await startBatchedTestRelay({ libc, threads: 1, listen: ["udp:127.0.0.1:0"] });
    const [reactor] = relay.reactors;
    const first = await openClient(relay);
    await allocated(first);
    const drained = relay.drain();
    const died = reactor?.reactor;
    await reactor?.kill();
    // With its allocations, what was waited for is gone.
    await drained;
    await expect.poll(() => reactor?.reactor, { timeout: 60_000 }).not.toBe(died);
    const second = await openClient(relay);
    await expect.poll(() => second.allocate().catch(() => undefined), { timeout: 60_000 }).toBe(508);
    await Promise.all([first.close(), second.close()]);
  });

  test("starts and stops, again and again, end and leave no descriptor", { timeout: CYCLES * 30_000 }, async () => {
    const before = descriptors();
    for (let cycle = 0; cycle < CYCLES; cycle++) {
      const relay = await startBatchedTestRelay({ libc, threads: 1, listen: ["udp:127.0.0.1:0"] });
      if (cycle % 3 === 0) {
        const client = await openClient(relay);
        await allocated(client);
        await client.close();
      }
      await relay.stop();
    }
    expect(descriptors()).toBe(before);
  });
}
