import { mintTimeLimited } from "@turnpike/credentials";
import { createTurnAuthenticator, sharedSecrets } from "@turnpike/authn/turn";
import { attribute, getAttribute, mobilityTicket, requestedTransport } from "@turnpike/stun";
import { nodeCrypto } from "@turnpike/stun/node";
import { expect, test } from "vitest";
import { outcomeOf } from "../sim/support/stun-client.ts";
import { LinkTurnClient } from "../support/link-turn-client.ts";
import { ALICE, allocated, BOB, keep, openClient, openPeer, startTestRelay } from "../support/relay.ts";

const SECRET = "north-star-secret";
const UDP = attribute(requestedTransport, 17);

test("case 14: no time stamp and no letter's case makes another user of the same", async () => {
  const authenticator = createTurnAuthenticator({ realm: "turnpike", schemes: [sharedSecrets({ secrets: [SECRET] })] });
  const relay = await startTestRelay({
    authenticate: (request) => authenticator.authenticate(request),
    limits: { quotas: { user: 1 } },
    penalties: false,
  });
  const mint = (user: string, ttlSeconds: number) => {
    const minted = mintTimeLimited({
      secrets: SECRET,
      user,
      ttlSeconds,
      nowUnixMs: Date.now(),
      keyedHash: nodeCrypto,
    });
    return { username: minted.username, password: minted.credential };
  };
  const first = mint("alice", 600);
  await allocated(await openClient(relay, first));
  expect(await (await openClient(relay, mint("alice", 700))).allocate()).toBe(486);
  // The name is part of what the secret signs: another spelling is no credential.
  expect(
    await (await openClient(relay, { ...first, username: first.username.replace("alice", "ALICE") })).allocate(),
  ).toBe(401);
  await allocated(await openClient(relay, mint("bob", 600)));
});

test("case 14: who is given credentials in several spellings is one user: case, width, Unicode form, stamp, transport", async () => {
  const authenticator = createTurnAuthenticator({ realm: "turnpike", schemes: [sharedSecrets({ secrets: [SECRET] })] });
  const relay = await startTestRelay({
    listen: ["udp:127.0.0.1:0", "tcp:127.0.0.1:0"],
    authenticate: (request) => authenticator.authenticate(request),
    limits: { quotas: { user: 1 } },
  });
  const mint = (user: string, ttlSeconds = 600) => {
    const at = { user, ttlSeconds, nowUnixMs: Date.now(), keyedHash: nodeCrypto };
    const { username, credential } = mintTimeLimited({ secrets: SECRET, ...at });
    return { username, password: credential };
  };
  const first = await openClient(relay, mint("Zo\u00eb"));
  await allocated(first);
  const composed = mint("zo\u00eb", 700);
  const others = [composed, mint("ZO\u00cb"), mint("\uff3ao\u00eb")];
  for (const other of others) expect(await (await openClient(relay, other)).allocate(), other.username).toBe(486);
  // A name that its client did not prepare (RFC 8489 §9.2.2) has another key, and is no credential.
  const decomposed = { ...composed, username: composed.username.normalize("NFD") };
  expect(await (await openClient(relay, decomposed)).allocate()).toBe(401);
  const server = relay.listening.find(({ transport }) => transport === "tcp")?.local;
  if (server === undefined) throw new Error("There is no TCP listener");
  const stream = { transport: "tcp", server, ca: undefined, credentials: mint("zo\u00eb") } as const;
  const connected = keep(await LinkTurnClient.open(stream));
  expect(await connected.allocate()).toBe(486);
  await first.refresh(0);
  expect(await connected.allocate()).toMatchObject({ family: 4 });
});

test("case 14: neither a retransmission nor a move makes room for another allocation", async () => {
  const relay = await startTestRelay({ limits: { quotas: { user: 1 } }, engine: { mobility: true } });
  const [home, away, third] = [await openClient(relay), await openClient(relay), await openClient(relay)];
  await home.refresh(0);
  const request = home.stun.signed("allocate", [UDP, attribute(mobilityTicket, new Uint8Array(0))]);
  const ticket = getAttribute(await home.exchange(request), mobilityTicket);
  expect(outcomeOf(await home.exchange(request))).toBe("success");
  const moved = await away.request("refresh", [
    attribute(mobilityTicket, ticket?.ok ? ticket.value : new Uint8Array(0)),
  ]);
  expect(outcomeOf(moved)).toBe("success");
  expect(await third.allocate()).toBe(486);
  expect(relay.stats().allocations).toBe(1);
  const [described] = await relay.allocations();
  expect(await relay.allocations()).toHaveLength(1);
  expect(described?.context.actor).toBe("alice");
});

test("case 19: requests of one network are limited, another isn't; what is relayed goes on", async () => {
  const relay = await startTestRelay({ limits: { perSource: { requestsPerSecond: 10 } } });
  const [busy, other] = [await openClient(relay, ALICE, 4), await openClient(relay, BOB, 6)];
  const peer = await openPeer();
  await allocated(busy);
  await busy.permit(peer.local);
  for (let i = 0; i < 100; i++) busy.send(busy.stun.plain("binding"));
  await expect.poll(() => relay.stats().heldBack.requests, { timeout: 20_000 }).toBeGreaterThan(70);
  await allocated(other);
  busy.sendTo(peer.local, new Uint8Array(3));
  expect((await peer.receive()).bytes).toHaveLength(3);
});
