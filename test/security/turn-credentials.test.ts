/** Failures of other relays that concern user names and credentials, each held by a test of its own. */
import {
  createRevocationList,
  createTurnAuthenticator,
  oauth,
  portalStamps,
  sharedSecrets,
  staticUsers,
  type TurnDecision,
} from "@turnpike/authn/turn";
import { mintStamp, mintTimeLimited, timeLimitedPassword } from "@turnpike/credentials";
import { nodeCrypto } from "@turnpike/stun/node";
import { describe, expect, test } from "vitest";
import { NOW, REALM, type RequestOptions, turnRequest } from "../../packages/authn/test/turn-request.ts";

const revocations = createRevocationList();
const authenticator = createTurnAuthenticator({
  realm: REALM,
  revocations,
  schemes: [
    portalStamps({ stampSecrets: ["stamp"] }),
    staticUsers({ users: [{ name: "stan", password: "static" }] }),
    sharedSecrets({ secrets: ["shared"] }),
    oauth({ serverName: "relay.example", keys: [{ kid: "north", key: Buffer.alloc(32).toString("base64") }] }),
  ],
});
const decide = (options: RequestOptions): TurnDecision => authenticator.authenticate(turnRequest(options));
const signed = (username: string): RequestOptions => ({
  username,
  password: timeLimitedPassword({ username, secret: "shared", keyedHash: nodeCrypto }),
});
const mint = { nowUnixMs: NOW, ttlSeconds: 60, keyedHash: nodeCrypto };

describe("hostile user names", () => {
  test.each([
    ["no colon", "alice"],
    ["only a colon", ":"],
    ["500 bytes", "a".repeat(500)],
    ["more bytes than USERNAME may have", `1700000060:${"a".repeat(600)}`],
    ["NUL", "1700000060:al\0ice"],
    ["a newline", "1700000060:alice\nadmin"],
    ["an ANSI escape", "1700000060:\u001b[2J"],
    ["a prototype's member", "__proto__"],
    ["another", "constructor"],
  ])("%s: neither an exception nor a way in", (_what, username) => {
    expect(decide(signed(username))).toMatchObject({ kind: "failed" });
    expect(decide({ username, key: new Uint8Array(16) })).toMatchObject({ kind: "failed" });
  });
});

describe("access tokens of hostile length", () => {
  test.each([0, 1, 2, 13, 14, 15, 63, 64, 4096, 4097, 65_535])("%i bytes", (length) => {
    for (const fill of [0, 0x0c, 0xff, 0x65]) {
      const accessToken = new Uint8Array(length).fill(fill);
      if (length > 1) accessToken.set([0, 12]);
      expect(decide({ username: "north", key: new Uint8Array(32), accessToken })).toMatchObject({ kind: "failed" });
    }
  });
});

describe("credentials that would never end", () => {
  test.each([
    "1700000060000:alice",
    "alice:1700000060000",
    "1700000060000",
    "99999999999:alice",
    "01700000060:alice",
    "+1700000060:alice",
    "alice:",
    "0:alice",
  ])("%s is no time-limited name, though it is signed", (username) => {
    expect(decide(signed(username))).toMatchObject({ kind: "failed", reason: "unknownActor" });
  });

  test.each(["1699999999:alice", "alice:1699999999", "1699999999", "1699999999:1800000000"])(
    "%s has ended, whatever its form",
    (username) => {
      expect(decide(signed(username))).toMatchObject({ kind: "failed", reason: "expired" });
    },
  );

  test("nobody is minted a name that another reading would prolong", () => {
    expect(() => mintTimeLimited({ ...mint, secrets: "shared", user: "9999999999", form: "user:timestamp" })).toThrow(
      TypeError,
    );
  });

  test("a revoked one is refused from that moment on", () => {
    const { username, credential } = mintTimeLimited({ ...mint, secrets: "shared", user: "rita" });
    expect(decide({ username, password: credential }).kind).toBe("authenticated");
    revocations.revoke({ by: "username", value: username }, { nowUnixMs: NOW });
    expect(decide({ username, password: credential })).toMatchObject({ kind: "failed", reason: "badCredentials" });
  });
});

test("a quota knows one user by all its spellings, timestamps, forms and stamps", () => {
  const credentials = [
    mintTimeLimited({ ...mint, secrets: "shared", user: "alice" }),
    mintTimeLimited({ ...mint, secrets: "shared", user: "Alice", ttlSeconds: 61 }),
    mintTimeLimited({ ...mint, secrets: "shared", user: "ALICE", form: "user:timestamp" }),
    mintTimeLimited({ ...mint, secrets: "shared", user: "ａｌｉｃｅ" }),
    mintStamp({ ...mint, stampSecret: "stamp", user: "alice" }),
    mintStamp({ ...mint, stampSecret: "stamp", user: "aLiCe" }),
  ];
  const actors = credentials.map(({ username, credential }) => {
    const decision = decide({ username, password: credential });
    return decision.kind === "authenticated" ? decision.actor : decision.kind;
  });
  expect(new Set(actors)).toEqual(new Set(["alice"]));
});

test("an unknown user and a wrong password cost the same integrity checks and get the same 401", () => {
  const unknown = turnRequest({ username: "nobody", password: "guess" });
  const wrong = turnRequest({ username: "stan", password: "guess" });
  expect(authenticator.authenticate(unknown)).toMatchObject({ kind: "failed", reason: "unknownActor" });
  expect(authenticator.authenticate(wrong)).toMatchObject({ kind: "failed", reason: "badCredentials" });
  expect(unknown.checks.count).toBe(wrong.checks.count);
});
