import { readFileSync } from "node:fs";
import { plainEvent } from "@turnpike/relay";
import { formatTransportAddress } from "@turnpike/stun";
import type { LifecycleEvent } from "@turnpike/turn";
import { expect, test } from "vitest";
import { billing } from "../../examples/billing.ts";
import { followChannels } from "../../examples/offload.ts";
import { bandwidth, change } from "../../examples/user-bandwidth.ts";
import { userQuota } from "../../examples/user-quota.ts";
import { allocated, BOB, bytes, openClient, openPeer, startTestRelay } from "../support/relay.ts";

const SOON = { timeout: 20_000 };

test("examples/user-quota.ts: by plan, one for the others", async () => {
  const relay = await startTestRelay(userQuota(new Map([["alice", 2]])));
  for (const code of [4, 4, 486]) {
    const relayed = await (await openClient(relay)).allocate();
    expect(typeof relayed === "number" ? relayed : relayed.family).toBe(code);
  }
  await allocated(await openClient(relay, BOB));
  expect(await (await openClient(relay, BOB)).allocate()).toBe(486);
});

test("examples/billing.ts: all bytes both ways, once each, while the session goes on and at its end", async () => {
  const bill = new Map<string, number>();
  const relay = await startTestRelay({ ...billing(bill), trafficReportSeconds: 1 });
  const client = await openClient(relay);
  const peer = await openPeer();
  const relayed = await allocated(client);
  await client.permit(peer.local);
  client.sendTo(peer.local, bytes(100));
  await peer.receive();
  await expect.poll(() => bill.get("alice"), SOON).toBe(100);
  peer.send(bytes(40), relayed);
  await client.receiveData();
  await client.refresh(0);
  await expect.poll(() => bill.get("alice"), SOON).toBe(140);
});

test("examples/user-bandwidth.ts: a user's rate, and another one while it relays", async () => {
  const relay = await startTestRelay({ limits: bandwidth(new Map([["alice", 10_000]])) });
  const client = await openClient(relay);
  const peer = await openPeer();
  await allocated(client);
  await client.bind(0x4000, peer.local);
  // The burst is one full datagram: more than that is over the limit.
  for (let i = 0; i < 100; i++) client.sendOn(0x4000, bytes(1000));
  const drops = async (): Promise<number> => (await relay.allocations())[0]?.totals.drops.rate ?? 0;
  await expect.poll(drops, SOON).toBeGreaterThan(20);
  change(relay, new Map([["alice", 50_000_000]]));
  const before = await drops();
  for (let i = 0; i < 100; i++) client.sendOn(0x4000, bytes(1000));
  const relayed = async (): Promise<number> => (await relay.allocations())[0]?.totals.packetsToPeers ?? 0;
  await expect.poll(async () => (await relayed()) + (await drops()), SOON).toBe(200);
  expect(await drops()).toBe(before);
});

test("examples/offload.ts: the fast path knows what is bound, and nothing else", async () => {
  const relay = await startTestRelay();
  const path = { toPeer: new Map<string, string>(), toClient: new Map<string, string>() };
  const followed = followChannels(relay, path);
  const client = await openClient(relay);
  const peer = await openPeer();
  const relayed = formatTransportAddress(await allocated(client));
  await client.bind(0x4001, peer.local);
  const forth = `${formatTransportAddress(client.peer.local)} 0x4001`;
  const back = `${relayed} ${formatTransportAddress(peer.local)}`;
  await expect.poll(() => [...path.toPeer], SOON).toEqual([[forth, back]]);
  expect([...path.toClient]).toEqual([[back, forth]]);
  await client.refresh(0);
  await expect.poll(() => path.toPeer.size + path.toClient.size, SOON).toBe(0);
  await relay.stop();
  await followed;
});

test("examples/fail2ban: the filter finds guesses in real log lines, and only them, whatever name was tried", async () => {
  const events: LifecycleEvent[] = [];
  const relay = await startTestRelay({ onEvent: (event) => events.push(event) });
  await (await openClient(relay, { username: 'x","address":"203.0.113.1","reason":"', password: "y" })).allocate();
  await allocated(await openClient(relay));
  const filter = readFileSync(new URL("../../examples/fail2ban/turnpike-filter.conf", import.meta.url), "utf8");
  const failregex = /^failregex = (.+)$/m.exec(filter)?.[1] ?? "";
  const pattern = new RegExp(failregex.replace("<HOST>", "(?<host>[0-9a-fA-F:.]+)"));
  const found = events.map((event) =>
    pattern.exec(JSON.stringify({ level: 30, ...plainEvent(event), msg: event.type })),
  );
  expect(found.flatMap((match) => (match === null ? [] : [match.groups?.["host"]]))).toEqual(["127.0.0.1"]);
});
