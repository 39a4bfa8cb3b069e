import { inspect } from "node:util";
import { type CredentialVerifier, OperationContext, Secret, type VerifierResult } from "@turnpike/authn";
import { RecordingLogger } from "@turnpike/authn/testing";
import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

/** The users that every provider under test has, with their passwords. */
export const USERS: Readonly<Record<string, string>> = {
  ann: "ann-password",
  bob: "bob pässwörd 🔑",
  "o'brien": 'quote" \\ & : {username} $&',
};

/** A verifier, and the provider behind it. */
export interface VerifierUnderTest {
  readonly verifier: CredentialVerifier;
  /** Takes the provider away. */
  stop(): Promise<void>;
  /** Brings it back. */
  start(): Promise<void>;
  /** Forgets what a cache remembers. */
  forget?(): Promise<void>;
  /** Another verifier for the same provider, to be closed. */
  another(): CredentialVerifier;
  remove(): Promise<void>;
}

/** What every verifier promises, whatever it asks. */
export function verifierContract(name: string, setUp: () => Promise<VerifierUnderTest>): void {
  describe(`the contract of verifiers: ${name}`, () => {
    const logger = new RecordingLogger();
    const ctx = OperationContext.internal("test", { logger });
    let subject: VerifierUnderTest;
    const login = (username: string, password: string, signal?: AbortSignal): Promise<VerifierResult> =>
      subject.verifier.verify(ctx, { username, password: new Secret(password), signal });

    beforeAll(async () => {
      subject = await setUp();
    });
    afterAll(async () => {
      await subject.verifier.close?.();
      await subject.remove();
    });

    it("accepts each user's own password, with the same subject each time", async () => {
      const subjects = new Set<string>();
      for (const [username, password] of Object.entries(USERS)) {
        const first = await login(username, password);
        const second = await login(username, password);
        expect(first).toMatchObject({ kind: "verified" });
        if (first.kind !== "verified" || second.kind !== "verified") continue;
        expect(first.subject).not.toBe("");
        expect(second.subject).toBe(first.subject);
        expect(first.roles).toEqual([...new Set(first.roles)].toSorted());
        subjects.add(first.subject);
      }
      expect(subjects.size).toBe(Object.keys(USERS).length);
    });

    it("refuses every other password, and whoever isn't there", async () => {
      const others = ["ann-passwor", "ann-password ", "Ann-password", USERS["bob"] ?? "", "x".repeat(1024)];
      for (const other of others) {
        expect(await login("ann", other)).toMatchObject({ kind: "rejected", reason: "badCredentials" });
      }
      expect(await login("nobody", "ann-password")).toMatchObject({ kind: "rejected" });
    });

    it("refuses what no provider is to be asked, even while it is away", async () => {
      const impossible: readonly (readonly [string, string])[] = [
        ["ann", ""],
        ["ann", "ann-password\0"],
        ["ann", "\0"],
        ["ann", "x".repeat(1025)],
        ["", "ann-password"],
        ["ann\0", "ann-password"],
        ["ann\r\nX-Admin: 1", "ann-password"],
        ["\u001b[2Jann", "ann-password"],
        ["\udc00", "ann-password"],
        ["a".repeat(509), "ann-password"],
      ];
      await subject.stop();
      try {
        for (const [username, password] of impossible) {
          expect(await login(username, password)).toMatchObject({ kind: "rejected" });
        }
      } finally {
        await subject.start();
      }
    });

    it("verifies nobody by a name that is syntax somewhere", async () => {
      const names = ["*", "ann*", "ann)(|(uid=*", "ann,ou=people", "ann+cn=ann", "ann\\", "ann:", "#ann", "ann/../bob"];
      names.push(
        'ann","admin":true,"x":"',
        "{username}",
        "__proto__",
        "constructor",
        "\u202eann",
        "ann\u200b",
        "EXTERNAL",
      );
      for (const username of names) {
        expect(await login(username, "ann-password"), username).toMatchObject({ kind: "rejected" });
      }
    });

    it("neither throws nor verifies, whatever comes", async () => {
      const text = fc.string({ unit: "binary", maxLength: 20 });
      await fc.assert(
        fc.asyncProperty(text, text, async (username, password) => {
          expect((await login(username, password)).kind).toBe("rejected");
        }),
        { numRuns: 30 },
      );
    });

    it("has one form for a name that has one already", () => {
      fc.assert(
        fc.property(fc.string({ unit: "binary" }), (username) => {
          const once = subject.verifier.normalizeUsername?.(username) ?? username;
          expect(subject.verifier.normalizeUsername?.(once) ?? once).toBe(once);
        }),
      );
    });

    it("answers each of many at once with that one's own answer", async () => {
      const asked = Array.from({ length: 24 }, (_, i) => i);
      const results = await Promise.all(
        asked.map((i) => login("ann", i % 3 === 0 ? "ann-password" : `guess ${i % 5}`)),
      );
      const kinds = results.map(({ kind }) => kind);
      expect(kinds).toEqual(asked.map((i) => (i % 3 === 0 ? "verified" : "rejected")));
    });

    it("is unavailable, neither open nor refusing, while the provider is away; and is back with it", async () => {
      await subject.forget?.();
      await subject.stop();
      try {
        for (const password of ["ann-password", "wrong"]) {
          const result = await login("ann", password);
          expect(result).toMatchObject({ kind: "unavailable", cause: expect.any(Error) });
        }
      } finally {
        await subject.start();
      }
      expect(await login("ann", "ann-password")).toMatchObject({ kind: "verified" });
      expect(await login("ann", "wrong")).toMatchObject({ kind: "rejected" });
    });

    it("stops waiting when nobody waits for it", async () => {
      await subject.forget?.();
      expect(await login("ann", "ann-password", AbortSignal.abort())).toMatchObject({ kind: "unavailable" });
      expect(await login("ann", "ann-password")).toMatchObject({ kind: "verified" });
    });

    it("answers nothing after it was closed, which may be said twice", async () => {
      const other = subject.another();
      const question = { username: "ann", password: new Secret("ann-password") };
      expect(await other.verify(ctx, question)).toMatchObject({ kind: "verified" });
      await other.close?.();
      await other.close?.();
      expect(await other.verify(ctx, question)).toMatchObject({ kind: "unavailable" });
    });

    it("shows no password in what it returns, logs or is", async () => {
      const results = [await login("ann", "tell-tale"), await login("nobody", "tell-tale")];
      await subject.stop();
      try {
        results.push(await login("ann", "tell-tale"));
      } finally {
        await subject.start();
      }
      const shown = inspect([results, logger.lines, subject.verifier], { depth: 20, showHidden: true });
      expect(shown).not.toContain("tell-tale");
      expect(shown).not.toContain("ann-password");
    });
  });
}
