import { longTermKey } from "@turnpike/stun";
import { nodeCrypto } from "@turnpike/stun/node";
import { describe, expect, test } from "vitest";
import { REALM, type RequestOptions, turnRequest } from "../../test/turn-request.ts";
import { Secret } from "../core/secret.ts";
import { createTurnAuthenticator, type TurnAuthenticator } from "./authenticator.ts";
import type { PasswordAlgorithm } from "./request.ts";
import { type StaticUser, staticUsers } from "./static-users.ts";

function authenticatorOf(...users: StaticUser[]): TurnAuthenticator {
  return createTurnAuthenticator({ realm: REALM, schemes: [staticUsers({ users })] });
}

function storedKey(algorithm: PasswordAlgorithm, username = "alice", password = "correct horse"): string {
  return Buffer.from(longTermKey({ algorithm, username, realm: REALM, password, crypto: nodeCrypto })).toString("hex");
}

const request: RequestOptions = { username: "alice", password: "correct horse" };

describe("staticUsers", () => {
  test.each<[string, StaticUser, PasswordAlgorithm]>([
    ["a password", { name: "alice", password: "correct horse" }, "md5"],
    ["a password", { name: "alice", password: new Secret("correct horse") }, "sha256"],
    ["a stored MD5 key", { name: "alice", key: storedKey("md5") }, "md5"],
    ["a stored SHA-256 key", { name: "alice", key: new Secret(storedKey("sha256").toUpperCase()) }, "sha256"],
  ])("proves a user by %s", (_name, user, passwordAlgorithm) => {
    const decision = authenticatorOf(user).authenticate(turnRequest({ ...request, passwordAlgorithm }));
    expect(decision).toEqual({
      kind: "authenticated",
      username: "alice",
      actor: "alice",
      scheme: "static",
      key: Uint8Array.from(Buffer.from(storedKey(passwordAlgorithm), "hex")),
      credentialId: "alice",
    });
  });

  test("says in logs alone who doesn't exist and who has another password", () => {
    const authenticator = authenticatorOf({ name: "alice", password: "correct horse" });
    const of = (options: RequestOptions) => authenticator.authenticate(turnRequest(options));
    expect(of({ username: "alice", password: "guess" })).toEqual({
      kind: "failed",
      reason: "badCredentials",
      actor: "alice",
      scheme: "static",
    });
    expect(of({ username: "Bob", password: "guess" })).toEqual({
      kind: "failed",
      reason: "unknownActor",
      actor: "bob",
      scheme: "static",
    });
    // The name is compared as it is; only the actor has one spelling.
    expect(of({ username: "Alice", password: "correct horse" })).toMatchObject({ reason: "unknownActor" });
  });

  test("finds the user of a USERHASH, and nobody by another's", () => {
    const authenticator = authenticatorOf({ name: "alice", password: "correct horse" }, { name: "bob", password: "b" });
    expect(authenticator.usernameAnonymity).toBe(true);
    expect(authenticator.authenticate(turnRequest({ ...request, anonymous: true }))).toMatchObject({
      kind: "authenticated",
      username: "alice",
    });
    const unknown = turnRequest({ ...request, username: "carol", anonymous: true });
    expect(authenticator.authenticate(unknown)).toMatchObject({ kind: "failed", reason: "unknownActor" });
  });

  test("checks the integrity once, whoever asks", () => {
    const authenticator = authenticatorOf({ name: "alice", key: storedKey("md5") });
    const requests: RequestOptions[] = [
      request,
      { ...request, password: "guess" },
      { ...request, username: "nobody" },
      { ...request, username: "nobody", anonymous: true },
      { ...request, passwordAlgorithm: "sha256" },
    ];
    for (const options of requests) {
      const made = turnRequest(options);
      authenticator.authenticate(made);
      expect(made.checks.count).toBe(1);
    }
  });

  test("takes composed and decomposed names for one", () => {
    const authenticator = authenticatorOf({ name: "a\u0308", password: "pw" });
    expect(authenticator.authenticate(turnRequest({ username: "\u00e4", password: "pw" })).kind).toBe("authenticated");
  });

  describe("password algorithms", () => {
    test.each<[StaticUser[], PasswordAlgorithm[]]>([
      [[], ["sha256", "md5"]],
      [[{ name: "a", password: "x" }], ["sha256", "md5"]],
      [
        [
          { name: "a", password: "x" },
          { name: "b", key: storedKey("md5") },
        ],
        ["md5"],
      ],
      [[{ name: "a", key: storedKey("sha256") }], ["sha256"]],
      [
        [
          { name: "a", key: storedKey("md5") },
          { name: "a", key: storedKey("sha256") },
        ],
        ["sha256", "md5"],
      ],
    ])("are those that every user has a key of: %#", (users, expected) => {
      expect(authenticatorOf(...users).passwordAlgorithms).toEqual(expected);
    });

    test("can't be offered if some users have one kind of key and some the other", () => {
      expect(() =>
        authenticatorOf({ name: "old", key: storedKey("md5") }, { name: "new", key: storedKey("sha256") }),
      ).toThrow('"old" has no SHA-256 key and "new" no MD5 key');
    });
  });

  test.each<[string, StaticUser[]]>([
    ["1 to 508 bytes", [{ name: "", password: "x" }]],
    ["1 to 508 bytes", [{ name: "a\nb", password: "x" }]],
    ["1 to 508 bytes", [{ name: "ä".repeat(255), password: "x" }]],
    ["either a password or a key", [{ name: "alice" }]],
    ["either a password or a key", [{ name: "alice", password: "hunter2", key: storedKey("md5") }]],
    ["its password is empty", [{ name: "alice", password: "" }]],
    ["has control characters", [{ name: "alice", password: "hunter2\0" }]],
    ["32 (MD5) or 64 (SHA-256)", [{ name: "alice", key: "0xhunter2" }]],
    [
      "listed twice",
      [
        { name: "alice", password: "hunter2" },
        { name: "alice", key: storedKey("md5") },
      ],
    ],
  ])("refuses a configuration with: %s (%#)", (message, users) => {
    expect(() => authenticatorOf(...users)).toThrow(TypeError);
    expect(() => authenticatorOf(...users)).toThrow(message);
    expect(() => authenticatorOf(...users)).not.toThrow("hunter2");
  });
});
