import { expect, test } from "vitest";
import { ALICE, allocated, BOB, openClient, openPeer, startTestRelay } from "../support/relay.ts";

const LIMIT = 1_000_000;
const SECONDS = 10;
const PAYLOAD = new Uint8Array(1000);
/** Packets of each flow in a millisecond: twice the limit. */
const PER_MS = 2;

test("1 MB/s holds within 5 % over 10 s both ways over sockets, while a second user's flow keeps its rate", async () => {
  const relay = await startTestRelay({
    limits: {
      limitsFor: ({ actor }) =>
        actor === "alice" ? { userRate: { bytesPerSecond: LIMIT, burstSeconds: 0.1 } } : undefined,
    },
  });
  const peer = await openPeer();
  const [limited, free] = [await openClient(relay, ALICE), await openClient(relay, BOB)];
  const [toLimited, toFree] = [await allocated(limited), await allocated(free)];
  for (const client of [limited, free]) expect(await client.bind(0x4000, peer.local)).toBe("success");
  const startMs = performance.now();
  let sent = 0;
  // By the clock, not by the number of wake-ups: a machine that is busy sends late, not less.
  for (let elapsedMs = 0; elapsedMs < SECONDS * 1000; elapsedMs = performance.now() - startMs) {
    for (const due = Math.floor(elapsedMs * PER_MS); sent < due; sent++) {
      limited.sendOn(0x4000, PAYLOAD);
      free.sendOn(0x4000, PAYLOAD);
      peer.send(PAYLOAD, toLimited);
      peer.send(PAYLOAD, toFree);
    }
    await new Promise((done) => setTimeout(done, 2));
  }
  const seconds = (performance.now() - startMs) / 1000;
  await new Promise((done) => setTimeout(done, 200));
  const totals = new Map((await relay.allocations()).map((each) => [each.context.actor, each.totals]));
  const [alice, bob] = [totals.get("alice")!, totals.get("bob")!];
  console.log(
    `offered ${sent} packets a flow in ${seconds.toFixed(2)} s; limited ${alice.bytesToPeers} out, ` +
      `${alice.bytesFromPeers} in, ${alice.drops.rate} dropped; free ${bob.bytesToPeers} out, ${bob.bytesFromPeers} in`,
  );
  for (const bytes of [alice.bytesToPeers, alice.bytesFromPeers]) {
    expect(Math.abs(bytes / (LIMIT * seconds) - 1)).toBeLessThan(0.05);
  }
  for (const packets of [bob.packetsToPeers, bob.packetsFromPeers]) expect(packets / sent).toBeGreaterThan(0.99);
});
