import { expect, test } from "vitest";
import { allocated, BOB, bytes, openClient, openPeer, startTestRelay } from "../support/relay.ts";

test("case 20: client addresses and secrets are in no line above debug", async () => {
  const lines: string[] = [];
  const add = (fields: object, message: string): number => lines.push(`${JSON.stringify(fields)} ${message}`);
  const relay = await startTestRelay({ logger: { debug: () => {}, info: add, warn: add, error: add } });
  const client = await openClient(relay);
  const peer = await openPeer();
  await allocated(client);
  await client.permit(peer.local);
  client.sendTo(peer.local, bytes(5));
  await peer.receive();
  expect(await (await openClient(relay, { ...BOB, password: "wrong" })).allocate()).toBe(401);
  await relay.stop();
  expect(lines.length).toBeGreaterThan(1);
  const shown = lines.join("\n");
  for (const secret of [`:${client.peer.local.port}`, `:${peer.local.port}`, "wonderland", "wrong", "alice"]) {
    expect(shown).not.toContain(secret);
  }
});
