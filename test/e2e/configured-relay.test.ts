/** A relay as the command wires it: every scheme beside the others, revocations, and what guessing costs. */
import { randomBytes } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { sealAccessToken } from "@turnpike/authn/turn";
import { mintStamp, mintTimeLimited } from "@turnpike/credentials";
import {
  accessToken,
  alternateDomain,
  alternateServer,
  attribute,
  encodeMessage,
  formatTransportAddress,
  getAttribute,
  nonce,
  realm,
  requestedTransport,
  type StunMessage,
  username as usernameAttribute,
} from "@turnpike/stun";
import { nodeCrypto } from "@turnpike/stun/node";
import { loadConfiguration } from "turnpike";
import { describe, expect, it } from "vitest";
import { readCredentials } from "../../packages/turnpike/src/config/credentials.ts";
import { createLogger } from "../../packages/turnpike/src/log.ts";
import { type ConfiguredRelay, startConfiguredRelay } from "../../packages/turnpike/src/wiring/start-relay.ts";
import { outcomeOf } from "../sim/support/stun-client.ts";
import { keep, openClient } from "../support/relay.ts";
import { relayedOf, type UdpTurnClient } from "../support/udp-turn-client.ts";

const STAMP_SECRET = randomBytes(32).toString("hex");
const OAUTH_KEY = randomBytes(32);
const UDP = attribute(requestedTransport, 17);

const BASE = `
[relay]
listen = ["udp:127.0.0.1:0"]
relay_addresses = ["127.0.0.1"]
realm = "example.org"
[peers]
allow = ["127.0.0.0/8"]
`;

async function start(toml: string): Promise<ConfiguredRelay & { readonly log: () => string }> {
  const loaded = loadConfiguration({
    file: { name: "turnpike.toml", text: BASE + toml },
    environment: {},
    flags: new Map(),
  });
  let log = "";
  const configured = await startConfiguredRelay({
    configuration: loaded.configuration,
    credentials: readCredentials(loaded, { readFile: () => "", reasonOf: String }),
    logger: createLogger({ level: "trace", format: "json", colors: false, write: (line) => (log += line) }),
    stampSecrets: () => [STAMP_SECRET],
  });
  keep({
    async [Symbol.asyncDispose]() {
      await configured.relay.stop();
      expect(configured.relay.stats()).toMatchObject({ allocations: 0, relaySockets: 0, internalErrors: 0 });
    },
  });
  return { ...configured, log: () => log };
}

/** A webhook that knows dave, and labels his credential. */
async function startWebhook(): Promise<string> {
  const server = createServer((_request, response) => {
    response.end(JSON.stringify({ result: "allow", password: "dave-password", actor: "u-4", label: "dave-laptop" }));
  }).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  keep({
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  });
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a TCP server has such an address
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

/** Allocates as RFC 7635 has it: the token holds the key that the message's integrity is made with. */
async function allocateByToken(client: UdpTurnClient): Promise<StunMessage> {
  client.stun.learn(await client.exchange(client.stun.plain("allocate", [UDP])));
  const macKey = randomBytes(32);
  const token = sealAccessToken(
    { macKey, issuedAtUnixMs: Date.now(), lifetimeSeconds: 600 },
    { algorithm: "A256GCM", key: OAUTH_KEY, serverName: "relay.example", nonce: randomBytes(12) },
  );
  return client.exchange(
    encodeMessage({
      class: "request",
      method: "allocate",
      transactionId: randomBytes(12),
      attributes: [
        UDP,
        attribute(usernameAttribute, "north"),
        attribute(realm, client.stun.realm),
        attribute(nonce, client.stun.nonce),
        attribute(accessToken, token),
      ],
      integrity: { algorithm: "sha1", key: macKey, crypto: nodeCrypto },
    }),
  );
}

describe("every TURN scheme on one relay", () => {
  it.each([
    [["portal", "static", "shared-secret", "oauth", "webhook"]],
    [["webhook", "oauth", "shared-secret", "static", "portal"]],
    [["shared-secret", "portal", "oauth", "static", "webhook"]],
  ])("in the order %j, and revoked one by one", async (order) => {
    const { relay, revocations, log } = await start(`
[authn]
schemes_turn = ${JSON.stringify(order)}
[[turn.user]]
name = "alice"
password = "wonderland"
[turn]
shared_secrets = ["north-star", "south-star"]
[turn.webhook]
url = "${await startWebhook()}"
[turn.oauth]
server_name = "relay.example"
[[turn.oauth.key]]
kid = "north"
key = "${OAUTH_KEY.toString("base64")}"
[penalties]
delay = "none"
`);
    const shared = await mintTimeLimited({ secrets: ["south-star"], user: "bob", ttlSeconds: 600 });
    const stamped = await mintStamp({ stampSecret: STAMP_SECRET, user: "carol", ttlSeconds: 600 });
    const accounts = {
      static: { username: "alice", password: "wonderland" },
      "shared-secret": { username: shared.username, password: shared.credential },
      portal: { username: stamped.username, password: stamped.credential },
      webhook: { username: "dave", password: "dave-password" },
    };
    const clients: Record<string, UdpTurnClient> = {};
    for (const [scheme, credentials] of Object.entries(accounts)) {
      const client = await openClient(relay, credentials);
      clients[scheme] = client;
      expect(await client.allocate(), scheme).toMatchObject({ family: 4 });
      await expect.poll(log).toContain(`"scheme":"${scheme}"`);
    }
    const byToken = await openClient(relay);
    expect(relayedOf(await allocateByToken(byToken))).toMatchObject({ family: 4 });
    expect(relay.stats().allocations).toBe(5);

    const untilUnixMs = Date.now() + 600_000;
    const revoked = {
      static: { by: "actor", value: "Alice", untilUnixMs },
      "shared-secret": { by: "username", value: shared.username },
      portal: { by: "actor", value: "carol", untilUnixMs },
      webhook: { by: "label", value: "dave-laptop", untilUnixMs },
    } as const;
    let left = 5;
    for (const [scheme, revocation] of Object.entries(revoked)) {
      revocations.revoke(revocation, { nowUnixMs: Date.now() });
      left--;
      await expect.poll(() => relay.stats().allocations, { message: scheme }).toBe(left);
      // Its allocation is gone, and its credential makes no new one.
      expect(await clients[scheme]?.refresh(600), scheme).toBe(401);
      expect(await clients[scheme]?.allocate(), scheme).toBe(401);
    }
    await expect.poll(() => log().match(/"reason":"credentialRevoked"/g)).toHaveLength(4);
    for (const secret of ["wonderland", "north-star", "south-star", "dave-password", OAUTH_KEY.toString("base64")]) {
      expect(log()).not.toContain(secret);
    }
  });
});

describe("guessing", () => {
  const GUESSED = `
[[turn.user]]
name = "alice"
password = "wonderland"
[penalties]
delay = "none"
ban_failures = 3
`;

  it("is not what a retransmission, a first 401 or a stale nonce is", async () => {
    const { relay } = await start(GUESSED);
    const client = await openClient(relay, { username: "alice", password: "wrong" });
    for (let time = 0; time < 5; time++) {
      client.stun.learn(await client.exchange(client.stun.plain("allocate", [UDP])));
    }
    const guess = client.stun.signed("allocate", [UDP]);
    for (let copy = 0; copy < 10; copy++) expect(outcomeOf(await client.exchange(guess))).toBe(401);
    for (let time = 0; time < 5; time++) {
      const stale = client.stun.signed("allocate", [UDP], { nonce: "x".repeat(35) });
      expect(outcomeOf(await client.exchange(stale))).toBe(438);
    }
    expect(relay.stats().penalties).toMatchObject({ failures: 1, automaticBans: 0 });
    const right = await openClient(relay, { username: "alice", password: "wonderland" });
    expect(await right.allocate()).toMatchObject({ family: 4 });
  });

  it("ends in silence, while what lives lives on", async () => {
    const { relay, log } = await start(GUESSED);
    const right = await openClient(relay, { username: "alice", password: "wonderland" });
    await right.allocate();
    const guesser = await openClient(relay, { username: "alice", password: "wrong" });
    for (let time = 0; time < 3; time++) expect(await guesser.allocate()).toBe(401);
    for (let time = 0; time < 5; time++) guesser.send(guesser.stun.signed("allocate", [UDP]));
    expect(await right.refresh(600)).toBe("success");
    const discarded = (): number => relay.stats().penalties.discarded;
    // What else comes from the banned address, be it for who had the port before, is discarded as well.
    await expect.poll(discarded).toBeGreaterThanOrEqual(5);
    expect(relay.stats().penalties).toMatchObject({ failures: 3, automaticBans: 1 });
    // Had a guess been answered, its answer would be here before that of a request behind it.
    expect(await right.refresh(600)).toBe("success");
    expect(guesser.unread).toBe(0);
    await expect.poll(log).toContain("An address was banned");
  });
});

describe("redirection by configuration", () => {
  it("sends users and networks elsewhere by the first rule that fits, and keeps the others", async () => {
    const { relay } = await start(`
[[turn.user]]
name = "Alice"
password = "wonderland"
[[turn.user]]
name = "bob"
password = "builder"
[[redirect.rule]]
users = ["alice"]
prefixes = ["127.0.0.0/8"]
servers = ["[2001:db8::9]:3478", "192.0.2.9:3478"]
domain = "eu.example.org"
[[redirect.rule]]
draining = true
servers = ["192.0.2.10:3478"]
`);
    const alice = await openClient(relay, { username: "Alice", password: "wonderland" });
    const answer = await alice.allocateAnswer();
    expect(outcomeOf(answer)).toBe(300);
    const server = getAttribute(answer, alternateServer);
    expect(server?.ok ? formatTransportAddress(server.value) : server).toBe("192.0.2.9:3478");
    expect(getAttribute(answer, alternateDomain)).toMatchObject({ ok: true, value: "eu.example.org" });
    const bob = await openClient(relay, { username: "bob", password: "builder" });
    expect(await bob.allocate()).toMatchObject({ family: 4 });
    expect(relay.stats().draining).toBe(false);
    void relay.drain();
    expect(relay.stats().draining).toBe(true);
    expect(await (await openClient(relay, { username: "bob", password: "builder" })).allocate()).toBe(300);
  });
});
