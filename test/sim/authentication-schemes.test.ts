/** The engine on the authentication framework: every TURN scheme makes a real allocation. */
import {
  createTurnAuthenticator,
  oauth,
  portalStamps,
  sealAccessToken,
  sharedSecrets,
  staticUsers,
  type TurnSchemeFactory,
  webhook,
  type WebhookAnswer,
} from "@turnpike/authn/turn";
import { mintStamp, mintTimeLimited } from "@turnpike/credentials";
import {
  accessToken,
  attribute,
  encodeMessage,
  nonce,
  realm,
  requestedTransport,
  transportAddress,
  username,
} from "@turnpike/stun";
import { nodeCrypto } from "@turnpike/stun/node";
import { describe, expect, test } from "vitest";
import { VirtualClock } from "./support/clock.ts";
import { EngineHarness } from "./support/engine-harness.ts";
import { type ClientCredentials, outcomeOf, StunClient } from "./support/stun-client.ts";

const CLIENT = transportAddress("198.51.100.7", 40_000);
const REALM = "example.org";
const UDP = attribute(requestedTransport, 17);
const NOW = new VirtualClock().unixMs;
const mint = { nowUnixMs: NOW, ttlSeconds: 600, keyedHash: nodeCrypto };

interface Started {
  readonly harness: EngineHarness;
  readonly client: StunClient;
}

/** An engine that asks these schemes, and a client that has its challenge. */
function start(schemes: readonly TurnSchemeFactory[], credentials: ClientCredentials): Started {
  const authenticator = createTurnAuthenticator({ realm: REALM, schemes });
  const { passwordAlgorithms, usernameAnonymity } = authenticator;
  const harness = new EngineHarness({
    authenticate: (request) => authenticator.authenticate(request),
    passwordAlgorithms,
    usernameAnonymity,
  });
  authenticator.onAnswer(({ questionId, decision }) => {
    harness.server.handleAnswer({ kind: "authentication", questionId, decision }, harness.clock);
    harness.drain();
  });
  const client = new StunClient(credentials, harness.random);
  harness.fromClient(CLIENT, client.plain("allocate", [UDP]));
  client.learn(harness.answer());
  return { harness, client };
}

function allocate({ harness, client }: Started): "success" | number {
  harness.fromClient(CLIENT, client.signed("allocate", [UDP]));
  return outcomeOf(harness.answer());
}

const stamp = mintStamp({ ...mint, stampSecret: "stamp", user: "pat" });
const shared = mintTimeLimited({ ...mint, secrets: "old", user: "sue" });
const schemes = [
  portalStamps({ stampSecrets: ["stamp"] }),
  staticUsers({ users: [{ name: "stan", password: "static" }] }),
  sharedSecrets({ secrets: ["new", "old"] }),
];

describe.each([undefined, "md5", "sha256"] as const)("PASSWORD-ALGORITHM %s", (algorithm) => {
  test.each([
    ["portal", stamp.username, stamp.credential, "pat"],
    ["shared-secret", shared.username, shared.credential, "sue"],
    ["static", "stan", "static", "stan"],
  ])("%s makes an allocation, and a wrong password none", (scheme, name, password, actor) => {
    const credentials = { username: name, password, ...(algorithm === undefined ? {} : { algorithm }) };
    const started = start(schemes, credentials);
    expect(allocate(start(schemes, { ...credentials, password: "guess" }))).toBe(401);
    started.harness.fromClient(CLIENT, started.client.signed("allocate", [UDP]));
    const events = started.harness.take().flatMap((output) => (output.kind === "event" ? [output.event] : []));
    expect(events).toMatchObject([
      { type: "authSucceeded", scheme, actor, username: name },
      { type: "allocationCreated", context: { scheme, actor } },
    ]);
  });
});

test("a USERHASH finds a static user, if every scheme can resolve it", () => {
  const users = staticUsers({ users: [{ name: "stan", password: "static" }] });
  const credentials = { username: "stan", password: "static", algorithm: "sha256", anonymous: true } as const;
  expect(allocate(start([users], credentials))).toBe("success");
});

test("a credential that ends while its allocation lives is not asked for again", () => {
  const started = start(schemes, { username: shared.username, password: shared.credential });
  expect(allocate(started)).toBe("success");
  const { harness, client } = started;
  harness.advance(500_000);
  harness.take();
  harness.fromClient(CLIENT, client.signed("refresh"));
  expect(outcomeOf(harness.answer())).toBe("success");
  harness.advance(200_000);
  harness.take();
  const challenged = new StunClient(client.credentials, harness.random);
  harness.fromClient(CLIENT, challenged.plain("refresh"));
  challenged.learn(harness.answer());
  harness.fromClient(CLIENT, challenged.signed("refresh"));
  expect(outcomeOf(harness.answer())).toBe("success");
  const other = transportAddress("198.51.100.8", 40_000);
  harness.fromClient(other, challenged.plain("allocate", [UDP]));
  challenged.learn(harness.answer());
  harness.fromClient(other, challenged.signed("allocate", [UDP]));
  expect(outcomeOf(harness.answer())).toBe(401);
});

test.each<[WebhookAnswer | Error, "success" | number]>([
  [{ result: "allow", password: "pw" }, "success"],
  [{ result: "allow", password: "other" }, 401],
  [{ result: "deny" }, 401],
  [{ result: "unknown" }, 401],
  [new Error("down"), 500],
])("a webhook's answer %j comes late and gives %s", async (answer, outcome) => {
  const asked = Promise.withResolvers<WebhookAnswer>();
  const scheme = webhook({ ask: async () => asked.promise });
  const { harness, client } = start([scheme], { username: "wendy", password: "pw" });
  const request = client.signed("allocate", [UDP]);
  harness.fromClient(CLIENT, request);
  harness.fromClient(CLIENT, request);
  expect(harness.take()).toEqual([]);
  harness.advance(2000);
  if (answer instanceof Error) asked.reject(answer);
  else asked.resolve(answer);
  await new Promise(setImmediate);
  expect(outcomeOf(harness.answer())).toBe(outcome);
});

test("an access token makes an allocation, whose key is in the token (RFC 7635)", () => {
  const [macKey, key] = [new Uint8Array(20).fill(1), new Uint8Array(32).fill(2)];
  const serverName = "relay.example";
  const scheme = oauth({ serverName, keys: [{ kid: "north", key: Buffer.from(key).toString("base64") }] });
  const { harness, client } = start([...schemes, scheme], { username: "north", password: "unused" });
  const sealing = { algorithm: "A256GCM", key, serverName, nonce: new Uint8Array(12) } as const;
  const send = (method: "allocate" | "refresh", integrityKey: Uint8Array, withToken: boolean): "success" | number => {
    const token = sealAccessToken({ macKey, issuedAtUnixMs: NOW, lifetimeSeconds: 600 }, sealing);
    const request = encodeMessage({
      class: "request",
      method,
      transactionId: harness.random.bytes(12),
      attributes: [
        ...(method === "allocate" ? [UDP] : []),
        attribute(username, "north"),
        attribute(realm, client.realm),
        attribute(nonce, client.nonce),
        ...(withToken ? [attribute(accessToken, token)] : []),
      ],
      integrity: { algorithm: "sha1", key: integrityKey, crypto: nodeCrypto },
    });
    harness.fromClient(CLIENT, request);
    return outcomeOf(harness.answer());
  };
  expect(send("allocate", new Uint8Array(20), true)).toBe(401);
  expect(send("allocate", macKey, false)).toBe(401);
  expect(send("allocate", macKey, true)).toBe("success");
  expect(send("refresh", macKey, false)).toBe("success");
});
