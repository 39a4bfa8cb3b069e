import { mintStamp, mintTimeLimited } from "@turnpike/credentials";
import { longTermKey } from "@turnpike/stun";
import { nodeCrypto } from "@turnpike/stun/node";
import type { AuthenticationDecision, AuthenticationRequest } from "@turnpike/turn";
import * as fc from "fast-check";
import { describe, expect, expectTypeOf, test } from "vitest";
import { NOW, REALM, turnRequest } from "../../test/turn-request.ts";
import type { DecisionEvent } from "../core/decision.ts";
import { RecordingLogger } from "../testing/recording-logger.ts";
import { createTurnAuthenticator, type TurnAnswer } from "./authenticator.ts";
import type { PasswordAlgorithm, TurnDecision, TurnRequest } from "./request.ts";
import { createRevocationList } from "./revocations.ts";
import { proven, type TurnSchemeFactory, type TurnSchemeResult } from "./scheme.ts";
import { staticUsers } from "./static-users.ts";
import { portalStamps, sharedSecrets } from "./time-limited.ts";
import { webhook } from "./webhook.ts";

const STAMP_SECRET = "4c98bf59c99b3e467ecd7cf9d6b3e5279645fca59be67bc5bb4af3cf653761ab";
const mint = { nowUnixMs: NOW, ttlSeconds: 60, keyedHash: nodeCrypto };

test("requests and decisions have the shapes of the engine's", () => {
  expectTypeOf<TurnRequest>().toEqualTypeOf<AuthenticationRequest>();
  expectTypeOf<TurnDecision>().toEqualTypeOf<Exclude<AuthenticationDecision, { readonly kind: "discarded" }>>();
  const authenticator = createTurnAuthenticator({ realm: REALM, schemes: [] });
  const engines: (request: AuthenticationRequest) => AuthenticationDecision = (request) =>
    authenticator.authenticate(request);
  expect(engines(turnRequest({ username: "alice", password: "pw" }))).toEqual({ kind: "notRequested" });
});

describe("schemes together", () => {
  const stamp = mintStamp({ ...mint, stampSecret: STAMP_SECRET, user: "pat" });
  const byFirst = mintTimeLimited({ ...mint, secrets: "first", user: "ann" });
  const bySecond = mintTimeLimited({ ...mint, secrets: "second", user: "ben", form: "user:timestamp" });
  const bare = mintTimeLimited({ ...mint, secrets: "second" });
  const likeAStamp = mintTimeLimited({ ...mint, secrets: "first", user: "kim.AAAAAAAAAAAAAAAA" });
  const expired = mintTimeLimited({ ...mint, secrets: "first", user: "old", nowUnixMs: NOW - 61_000 });
  const expiredStamp = mintStamp({ ...mint, stampSecret: STAMP_SECRET, user: "eve", nowUnixMs: NOW - 61_000 });
  const users = [
    { name: "stan", password: "static" },
    // Static users may have any name, even one with the shape of a time-limited one that has ended.
    { name: "1600000000:sam", password: "static" },
    { name: "1600000000", password: "static" },
  ];
  const factories: Readonly<Record<string, TurnSchemeFactory>> = {
    portal: portalStamps({ stampSecrets: [STAMP_SECRET] }),
    static: staticUsers({ users }),
    "shared-secret": sharedSecrets({ secrets: ["first", "second"] }),
  };
  const failed = (reason: string, actor: string) => ({ kind: "failed", reason, actor });
  const by = (scheme: string, actor: string) => ({ kind: "authenticated", scheme, actor });
  const cases: readonly (readonly [string, string, object])[] = [
    [stamp.username, stamp.credential, by("portal", "pat")],
    [byFirst.username, byFirst.credential, by("shared-secret", "ann")],
    [bySecond.username, bySecond.credential, by("shared-secret", "ben")],
    [bare.username, bare.credential, by("shared-secret", bare.username)],
    [likeAStamp.username, likeAStamp.credential, by("shared-secret", "kim.aaaaaaaaaaaaaaaa")],
    ["stan", "static", by("static", "stan")],
    ["1600000000:sam", "static", by("static", "1600000000:sam")],
    ["1600000000", "static", by("static", "1600000000")],
    [expired.username, expired.credential, failed("expired", "old")],
    [expiredStamp.username, expiredStamp.credential, failed("expired", "eve")],
    ["stan", "wrong", failed("badCredentials", "stan")],
    ["nobody", "wrong", failed("unknownActor", "nobody")],
    [stamp.username, byFirst.credential, { kind: "failed", reason: "badCredentials" }],
    [byFirst.username, stamp.credential, { kind: "failed", reason: "badCredentials" }],
  ];

  const orders = permutations(Object.keys(factories));

  test("there are six orders of three schemes", () => {
    expect(new Set(orders.map((order) => order.join())).size).toBe(6);
  });

  test.each(orders.map((order) => [order.join(", "), order] as const))("work in the order %s", (_name, order) => {
    for (const secrets of [
      ["first", "second"],
      ["second", "first"],
    ]) {
      const authenticator = createTurnAuthenticator({
        realm: REALM,
        schemes: order.map((name) =>
          name === "shared-secret" ? sharedSecrets({ secrets }) : (factories[name] ?? expect.unreachable()),
        ),
      });
      expect(authenticator.schemes).toEqual(order);
      for (const passwordAlgorithm of ["md5", "sha256"] as const) {
        for (const [username, password, expected] of cases) {
          const decision = authenticator.authenticate(turnRequest({ username, password, passwordAlgorithm }));
          expect(decision, `${username} ${passwordAlgorithm}`).toMatchObject(expected);
        }
      }
    }
  });

  test("do the same work for an unknown user and a wrong password, in every order", () => {
    const countsOf = (order: readonly string[], username: string): number => {
      let hashes = 0;
      const crypto: typeof nodeCrypto = {
        hmac: (algorithm, key, chunks) => {
          hashes += 1;
          return nodeCrypto.hmac(algorithm, key, chunks);
        },
        digest: (algorithm, data) => {
          hashes += 1;
          return nodeCrypto.digest(algorithm, data);
        },
      };
      const authenticator = createTurnAuthenticator({
        realm: REALM,
        crypto,
        schemes: order.map((name) => factories[name] ?? expect.unreachable()),
      });
      hashes = 0;
      const request = turnRequest({ username, password: "guess" });
      authenticator.authenticate(request);
      return hashes + 1000 * request.checks.count;
    };
    for (const order of orders) {
      expect(countsOf(order, "nobody")).toBe(countsOf(order, "stan"));
      expect(countsOf(order, "1600000000:not")).toBe(countsOf(order, "1600000000:sam"));
    }
  });

  test("offer what all of them have", () => {
    const of = (...schemes: TurnSchemeFactory[]) => createTurnAuthenticator({ realm: REALM, schemes });
    const md5 = staticUsers({ users: [{ name: "a", key: "0".repeat(32) }] });
    const { portal, static: statics } = factories;
    if (portal === undefined || statics === undefined) throw new Error("a scheme is missing");
    expect(of(portal, statics)).toMatchObject({ passwordAlgorithms: ["sha256", "md5"], usernameAnonymity: false });
    expect(of(portal, md5).passwordAlgorithms).toEqual(["md5"]);
    expect(of(statics).usernameAnonymity).toBe(true);
    expect(of()).toMatchObject({ passwordAlgorithms: ["sha256", "md5"], usernameAnonymity: false, schemes: [] });
    const onlySha256 = webhook({ ask: async () => ({ result: "deny" }), passwordAlgorithms: ["sha256"] });
    expect(() => of(md5, onlySha256)).toThrow("no password algorithm is served by all of them");
    expect(() => of(statics, statics)).toThrow('scheme "static" is listed twice');
    expect(() => createTurnAuthenticator({ realm: "a\n", schemes: [] })).toThrow("Cannot use this realm");
  });
});

describe("late answers", () => {
  const waiting = (): {
    readonly factory: TurnSchemeFactory;
    readonly answers: ((result: TurnSchemeResult) => void)[];
  } => {
    const answers: ((result: TurnSchemeResult) => void)[] = [];
    const factory: TurnSchemeFactory = () => ({
      name: "webhook",
      passwordAlgorithms: ["sha256", "md5"],
      resolvesUserhash: false,
      authenticate: () => new Promise((resolve) => answers.push(resolve)),
    });
    return { factory, answers };
  };

  test("go to every listener once, by the question's id", async () => {
    const { factory, answers } = waiting();
    const logger = new RecordingLogger();
    const authenticator = createTurnAuthenticator({ realm: REALM, schemes: [factory], logger });
    const heard: TurnAnswer[] = [];
    authenticator.onAnswer(() => {
      throw new Error("a listener's bug");
    });
    authenticator.onAnswer((answer) => heard.push(answer));
    const silence = authenticator.onAnswer(() => expect.unreachable());
    silence();
    silence();
    const first = turnRequest({ username: "a", password: "pw", questionId: 7 });
    expect(authenticator.authenticate(first)).toEqual({ kind: "pending" });
    expect(authenticator.authenticate(turnRequest({ username: "b", password: "pw", questionId: 8 }))).toEqual({
      kind: "pending",
    });
    answers[1]?.({ kind: "unavailable", cause: new Error("down") });
    answers[0]?.(proven("Ann", { username: "a", key: new Uint8Array(16).fill(1) }));
    await new Promise(setImmediate);
    expect(heard.map(({ questionId, decision }) => [questionId, decision])).toEqual([
      [8, { kind: "failed", reason: "unavailable", scheme: "webhook" }],
      [7, { kind: "authenticated", username: "a", actor: "ann", scheme: "webhook", key: new Uint8Array(16).fill(1) }],
    ]);
    expect(heard[1]?.request).toBe(first);
    expect(logger.lines.filter(({ level }) => level === "error")).toHaveLength(2);
  });

  test("are not waited for if an earlier scheme proves the request", () => {
    const { factory, answers } = waiting();
    const users = staticUsers({ users: [{ name: "stan", password: "static" }] });
    const authenticator = createTurnAuthenticator({ realm: REALM, schemes: [users, factory] });
    const request = turnRequest({ username: "stan", password: "static" });
    expect(authenticator.authenticate(request).kind).toBe("authenticated");
    expect(answers).toHaveLength(0);
  });

  test("may be that a later scheme proves it", async () => {
    const { factory, answers } = waiting();
    const users = staticUsers({ users: [{ name: "stan", password: "static" }] });
    const authenticator = createTurnAuthenticator({ realm: REALM, schemes: [factory, users] });
    const answer = new Promise<TurnAnswer>((resolve) => authenticator.onAnswer(resolve));
    authenticator.authenticate(turnRequest({ username: "stan", password: "static" }));
    answers[0]?.({ kind: "notRequested" });
    expect((await answer).decision).toMatchObject({ kind: "authenticated", scheme: "static" });
  });
});

describe("revocations", () => {
  test("refuse what is right, at once or late, and nothing else", async () => {
    const revocations = createRevocationList();
    const key = (algorithm: PasswordAlgorithm, username: string) =>
      longTermKey({ algorithm, username, realm: REALM, password: "pw", crypto: nodeCrypto });
    const authenticator = createTurnAuthenticator({
      realm: REALM,
      revocations,
      schemes: [
        staticUsers({ users: [{ name: "stan", password: "pw" }] }),
        sharedSecrets({ secrets: ["s"] }),
        webhook({
          ask: async ({ username = "" }) =>
            Promise.resolve({ result: "allow", key: Buffer.from(key("md5", username)).toString("hex"), label: "room" }),
        }),
      ],
    });
    const late = async (username: string): Promise<TurnDecision> => {
      const answer = new Promise<TurnAnswer>((resolve) => authenticator.onAnswer(resolve));
      authenticator.authenticate(turnRequest({ username, password: "pw" }));
      return (await answer).decision;
    };
    const minted = mintTimeLimited({ ...mint, secrets: "s", user: "alice" });
    const other = mintTimeLimited({ ...mint, secrets: "s", user: "alice", ttlSeconds: 61 });
    const at = { nowUnixMs: NOW };
    const of = ({ username, credential }: { username: string; credential: string }) =>
      authenticator.authenticate(turnRequest({ username, password: credential }));
    const stan = { username: "stan", credential: "pw" };
    expect([of(minted).kind, of(stan).kind, (await late("web")).kind]).toEqual(Array(3).fill("authenticated"));

    revocations.revoke({ by: "username", value: minted.username }, at);
    revocations.revoke({ by: "label", value: "room", untilUnixMs: NOW + 1000 }, at);
    const refusal = { kind: "failed", reason: "badCredentials" };
    expect(of(minted)).toEqual({ ...refusal, actor: "alice", scheme: "shared-secret" });
    expect(await late("web")).toEqual({ ...refusal, actor: "web", scheme: "webhook" });
    expect([of(other).kind, of(stan).kind]).toEqual(["authenticated", "authenticated"]);

    revocations.revoke({ by: "actor", value: "Alice", untilUnixMs: NOW + 1000 }, at);
    expect(of(other)).toMatchObject(refusal);
  });
});

describe("logs and events", () => {
  const users = staticUsers({ users: [{ name: "stan", password: "hunter2" }] });

  test("say once what was decided, with the client's address in the event alone", () => {
    const logger = new RecordingLogger();
    const events: DecisionEvent[] = [];
    const authenticator = createTurnAuthenticator({
      realm: REALM,
      schemes: [users, sharedSecrets({ secrets: ["s"] })],
      name: "relay",
      logger,
      onDecision: (event) => events.push(event),
    });
    authenticator.authenticate(turnRequest({ username: "stan", password: "hunter2" }));
    authenticator.authenticate(turnRequest({ username: "stan", password: "wrong" }));
    expect(logger.lines).toMatchObject([
      { level: "debug", fields: { authenticator: "relay", actor: "user:stan", scheme: "static" } },
      { level: "info", fields: { reason: "badCredentials", actor: "stan", schemesTried: ["static", "shared-secret"] } },
    ]);
    expect(events.map((event) => [event.decision.kind, event.source])).toEqual([
      ["authenticated", { address: "198.51.100.7", operation: "allocate" }],
      ["failed", { address: "198.51.100.7", operation: "allocate" }],
    ]);
    expect(JSON.stringify(logger.lines)).not.toMatch(/hunter2|198\.51/u);
    expect(JSON.stringify(events)).not.toContain("hunter2");
  });

  test("never have raw text of a client in them, however hostile", () => {
    const logger = new RecordingLogger();
    const authenticator = createTurnAuthenticator({
      realm: REALM,
      schemes: [users, portalStamps({ stampSecrets: ["p"] }), sharedSecrets({ secrets: ["s"] })],
      logger,
    });
    const evil = fc.constantFrom("\u001b[2J", "\0", "\r\n", "\u009b31m", "\u202e", "\u2028", "x".repeat(600), "\ud800");
    const username = fc
      .tuple(
        fc.constantFrom("", "1700000060:", "5:"),
        evil,
        fc.string({ unit: "binary" }),
        fc.constantFrom("", ":1700000060"),
      )
      .map((parts) => parts.join(""));
    fc.assert(
      fc.property(username, (name) => {
        logger.lines.length = 0;
        const decision = authenticator.authenticate(turnRequest({ username: name, key: new Uint8Array(16) }));
        expect(decision.kind).toBe("failed");
        const line = logger.lines.map(({ fields, message }) => [...Object.values(fields), message].join(" ")).join(" ");
        expect(logger.lines).toHaveLength(1);
        expect(line).not.toMatch(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u);
        expect(line.length).toBeLessThan(2000);
      }),
    );
  });
});

function permutations<Item>(items: readonly Item[]): Item[][] {
  if (items.length < 2) return [[...items]];
  return items.flatMap((item, index) => permutations(items.toSpliced(index, 1)).map((others) => [item, ...others]));
}
