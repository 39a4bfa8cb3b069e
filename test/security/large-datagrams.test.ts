import { expect, test } from "vitest";
import { allocated, bytes, openClient, openPeer, startTestRelay } from "../support/relay.ts";

test("case 18: what no datagram carries is dropped and counted, never truncated", async () => {
  const relay = await startTestRelay();
  const client = await openClient(relay);
  const peer = await openPeer();
  const relayed = await allocated(client);
  expect(await client.bind(0x4000, peer.local)).toBe("success");
  for (const length of [65_507, 65_504, 65_503]) {
    peer.send(bytes(length), relayed);
  }
  const largest = (await client.receive()).bytes;
  expect(largest.length).toBe(65_507);
  expect(Buffer.compare(largest.subarray(4), bytes(65_503))).toBe(0);
  expect(relay.stats().traffic.oversized).toBe(2);
  client.sendOn(0x4000, bytes(65_503));
  expect(Buffer.compare((await peer.receive()).bytes, bytes(65_503))).toBe(0);
});
