import { mintStamp, mintTimeLimited, timeLimitedPassword } from "@turnpike/credentials";
import { nodeCrypto } from "@turnpike/stun/node";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { NOW, REALM, turnRequest } from "../../test/turn-request.ts";
import { Secret } from "../core/secret.ts";
import { createTurnAuthenticator } from "./authenticator.ts";
import type { TurnSchemeFactory } from "./scheme.ts";
import { portalStamps, sharedSecrets } from "./time-limited.ts";

const STAMP_SECRET = "4c98bf59c99b3e467ecd7cf9d6b3e5279645fca59be67bc5bb4af3cf653761ab";
const mint = { nowUnixMs: NOW, ttlSeconds: 60, keyedHash: nodeCrypto };
const requestOf = (minted: { username: string; credential: string }, unixMs = NOW) =>
  turnRequest({ username: minted.username, password: minted.credential, unixMs });

function authenticate(scheme: TurnSchemeFactory, request: ReturnType<typeof turnRequest>) {
  return createTurnAuthenticator({ realm: REALM, schemes: [scheme] }).authenticate(request);
}

describe("sharedSecrets", () => {
  test.each([
    ["timestamp:user", "Alice", "alice"],
    ["user:timestamp", "Alice", "alice"],
    ["timestamp", undefined, "1700000060"],
  ] as const)("proves the form %s", (form, user, actor) => {
    const minted = mintTimeLimited({ ...mint, secrets: "north", form, ...(user === undefined ? {} : { user }) });
    expect(authenticate(sharedSecrets({ secrets: ["north"] }), requestOf(minted))).toMatchObject({
      kind: "authenticated",
      username: minted.username,
      actor,
      scheme: "shared-secret",
      expiresAtUnixMs: NOW + 60_000,
      credentialId: minted.username,
    });
  });

  test.each(["1700000060:", ":1700000060"])("takes %j, which has no user, for an actor of its own", (username) => {
    const password = timeLimitedPassword({ username, secret: "s", keyedHash: nodeCrypto });
    const decision = authenticate(sharedSecrets({ secrets: ["s"] }), turnRequest({ username, password }));
    expect(decision).toMatchObject({ kind: "authenticated", actor: username });
  });

  test("knows a user by any of its credentials and spellings", () => {
    const scheme = sharedSecrets({ secrets: ["s"] });
    const actors = [
      { user: "alice", form: "timestamp:user" as const, ttlSeconds: 10 },
      { user: "alice", form: "timestamp:user" as const, ttlSeconds: 20 },
      { user: "ALICE", form: "timestamp:user" as const, ttlSeconds: 30 },
      { user: "ａｌｉｃｅ", form: "user:timestamp" as const, ttlSeconds: 40 },
    ].map((options) => {
      const minted = mintTimeLimited({ ...mint, secrets: "s", ...options });
      const decision = authenticate(scheme, requestOf(minted));
      return decision.kind === "authenticated" && decision.actor;
    });
    expect(new Set(actors)).toEqual(new Set(["alice"]));
  });

  test("accepts the new and the old secret, with MD5 and SHA-256 keys, and the minters' keyed hash", () => {
    for (const passwordAlgorithm of ["md5", "sha256"] as const) {
      for (const algorithm of ["sha1", "sha256"] as const) {
        const minted = mintTimeLimited({ ...mint, secrets: "old", user: "a", algorithm });
        const options = { username: minted.username, password: minted.credential, passwordAlgorithm };
        const scheme = sharedSecrets({ secrets: [new Secret("new"), "old"], algorithm });
        expect(authenticate(scheme, turnRequest(options)).kind).toBe("authenticated");
        const other = sharedSecrets({ secrets: ["old"], algorithm: algorithm === "sha1" ? "sha256" : "sha1" });
        expect(authenticate(other, turnRequest(options))).toMatchObject({ reason: "badCredentials" });
      }
    }
  });

  test("ends with the credential, in every form", () => {
    for (const form of ["timestamp:user", "user:timestamp"] as const) {
      const minted = mintTimeLimited({ ...mint, secrets: "s", user: "alice", form });
      const at = (unixMs: number) => authenticate(sharedSecrets({ secrets: ["s"] }), requestOf(minted, unixMs));
      expect(at(NOW + 59_999).kind).toBe("authenticated");
      expect(at(NOW + 60_000)).toEqual({
        kind: "failed",
        reason: "expired",
        actor: "alice",
        scheme: "shared-secret",
      });
    }
  });

  test("lets nobody in by a clock that is no number", () => {
    const minted = mintTimeLimited({ ...mint, secrets: "s", user: "alice" });
    const decision = authenticate(sharedSecrets({ secrets: ["s"] }), requestOf(minted, Number.NaN));
    expect(decision).toMatchObject({ reason: "expired" });
  });

  test("tells nobody that a name has ended who can't prove it", () => {
    const decision = authenticate(
      sharedSecrets({ secrets: ["s"] }),
      turnRequest({ username: "5:alice", password: "guess" }),
    );
    expect(decision).toMatchObject({ reason: "badCredentials", actor: "alice" });
  });

  test.each(["alice", "1700000000000:alice", "0:alice", "alice:x", "", ":", "-1:alice"])(
    "lets %j in by no secret, though it is signed",
    (username) => {
      const password = timeLimitedPassword({ username, secret: "s", keyedHash: nodeCrypto });
      const decision = authenticate(sharedSecrets({ secrets: ["s"] }), turnRequest({ username, password }));
      expect(decision).toMatchObject({ kind: "failed", reason: "unknownActor" });
    },
  );

  test("refuses credentials that last too long, if told so", () => {
    const minted = mintTimeLimited({ ...mint, secrets: "s", user: "a", ttlSeconds: 7200 });
    const of = (maxTtlSeconds: number) =>
      authenticate(sharedSecrets({ secrets: ["s"], maxTtlSeconds }), requestOf(minted));
    expect(of(7200).kind).toBe("authenticated");
    expect(of(7199)).toMatchObject({ kind: "failed", reason: "badCredentials" });
  });

  test("looks secrets up anew at each request, if they are given by a function", () => {
    let secrets: string[] = [];
    const authenticator = createTurnAuthenticator({
      realm: REALM,
      schemes: [sharedSecrets({ secrets: () => secrets })],
    });
    const minted = mintTimeLimited({ ...mint, secrets: "fleet", user: "a" });
    expect(authenticator.authenticate(requestOf(minted))).toMatchObject({ reason: "badCredentials" });
    secrets = ["fleet"];
    expect(authenticator.authenticate(requestOf(minted)).kind).toBe("authenticated");
    secrets = [""];
    expect(authenticator.authenticate(requestOf(minted))).toMatchObject({ reason: "unavailable" });
  });

  test("derives and checks one key a secret, whatever of a right form is asked", () => {
    const scheme = sharedSecrets({ secrets: ["a", "b", "c"] });
    for (const username of ["1700000060:alice", "1700000060:nobody", "5:alice", "1700000060"]) {
      const request = turnRequest({ username, password: "guess" });
      authenticate(scheme, request);
      expect(request.checks.count).toBe(3);
    }
  });

  test("says that it can't resolve a USERHASH", () => {
    const authenticator = createTurnAuthenticator({ realm: REALM, schemes: [sharedSecrets({ secrets: ["s"] })] });
    expect(authenticator.usernameAnonymity).toBe(false);
    const minted = mintTimeLimited({ ...mint, secrets: "s", user: "a" });
    const request = turnRequest({ username: minted.username, password: minted.credential, anonymous: true });
    expect(authenticator.authenticate(request)).toEqual({ kind: "notRequested" });
  });

  test("refuses a configuration that would let anybody in, or nobody", () => {
    const of = (options: Parameters<typeof sharedSecrets>[0]) => () =>
      createTurnAuthenticator({ realm: REALM, schemes: [sharedSecrets(options)] });
    expect(of({ secrets: [] })).toThrow("it has no secret");
    expect(of({ secrets: ["a", ""] })).toThrow("one of them is empty");
    expect(of({ secrets: [new Secret("")] })).toThrow(TypeError);
    expect(of({ secrets: ["a"], maxTtlSeconds: 0 })).toThrow(RangeError);
    expect(of({ secrets: ["a"], maxTtlSeconds: Number.NaN })).toThrow(RangeError);
  });
});

describe("portalStamps", () => {
  const scheme = portalStamps({ stampSecrets: [STAMP_SECRET] });

  test("proves a stamp; the actor is the user in its salt", () => {
    const minted = mintStamp({ ...mint, stampSecret: STAMP_SECRET, user: "Alice.B" });
    expect(authenticate(scheme, requestOf(minted))).toMatchObject({
      kind: "authenticated",
      scheme: "portal",
      actor: "alice.b",
      username: minted.username,
      credentialId: minted.username,
      expiresAtUnixMs: NOW + 60_000,
    });
  });

  test("proves the stamps of another portal, each an actor of its own", () => {
    const username = "1892160000:n23JJ2wKKtt30oXi";
    const password = "00hqldgk5xLeKKOB+xls9mHMVtgqzie9DulfgQwMv68";
    expect(authenticate(scheme, turnRequest({ username, password }))).toMatchObject({
      kind: "authenticated",
      actor: "n23jj2wkktt30oxi",
    });
  });

  test("refuses what has ended, and what another relay's secret stamped", () => {
    const minted = mintStamp({ ...mint, stampSecret: STAMP_SECRET, user: "alice" });
    expect(authenticate(scheme, requestOf(minted, NOW + 60_000))).toMatchObject({ reason: "expired", actor: "alice" });
    const other = mintStamp({ ...mint, stampSecret: "other", user: "alice" });
    expect(authenticate(scheme, requestOf(other))).toMatchObject({ reason: "badCredentials", actor: "alice" });
    expect(authenticate(scheme, turnRequest({ username: "alice", password: "x" }))).toMatchObject({
      reason: "unknownActor",
    });
  });
});

test("no name that was not minted is let in, whatever it looks like", () => {
  const authenticator = createTurnAuthenticator({
    realm: REALM,
    schemes: [sharedSecrets({ secrets: ["s"] }), portalStamps({ stampSecrets: [STAMP_SECRET] })],
  });
  const part = fc.oneof(fc.string({ unit: "binary", maxLength: 300 }), fc.nat({ max: 4_000_000_000 }).map(String));
  const name = fc.array(part, { maxLength: 3 }).map((parts) => parts.join(":"));
  fc.assert(
    fc.property(name, (username) => {
      const decision = authenticator.authenticate(turnRequest({ username, key: new Uint8Array(16) }));
      expect(decision.kind).toBe("failed");
    }),
  );
});
