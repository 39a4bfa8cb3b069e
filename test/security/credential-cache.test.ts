import {
  CachedVerifier,
  CredentialCache,
  type CredentialVerifier,
  OperationContext,
  Secret,
  type SecretDigester,
  type Verified,
  type VerifierResult,
} from "@turnpike/authn";
import { ManualClock } from "@turnpike/authn/testing";
import { describe, expect, test } from "vitest";

const ctx = OperationContext.internal("test");

/** A provider with one password for everybody it knows, and what it was asked. */
function provider(users: Iterable<string>, name = "ad") {
  const known = new Map([...users].map((user) => [user, "right"]));
  const asked: string[] = [];
  let gate: Promise<void> | undefined;
  const verifier: CredentialVerifier = {
    provider: name,
    async verify(_ctx, { username, password }): Promise<VerifierResult> {
      asked.push(username);
      const right = known.get(username);
      await gate;
      if (right === undefined) return { kind: "rejected", reason: "unknownUser" };
      if (right !== password.reveal()) return { kind: "rejected", reason: "badCredentials" };
      return { kind: "verified", subject: `${name}/${username}`, groups: [], roles: [] };
    },
  };
  /** Answers wait until the returned function is called. */
  const hold = (): (() => void) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    gate = promise;
    return () => {
      gate = undefined;
      resolve();
    };
  };
  return { verifier, known, asked, hold };
}

function login(verifier: CredentialVerifier, username: string, password = "right"): Promise<VerifierResult> {
  return verifier.verify(ctx, { username, password: new Secret(password) });
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(setImmediate);
}

describe("a credential cache", () => {
  test("keeps apart what would be one name if provider, realm and user were only joined", async () => {
    const cache = new CredentialCache({ enabled: true });
    const subjects = new Set<string>();
    const triples = [
      ["a", "bc", "d"],
      ["ab", "c", "d"],
      ["abc", "", "d"],
      ["a", "b", "cd"],
      ["1:a", "", "bcd"],
    ] as const;
    for (const round of [1, 2]) {
      for (const [name, realm, user] of triples) {
        const { verifier, asked } = provider([user], name);
        const result = await login(new CachedVerifier({ verifier, cache, realm }), user);
        expect(result.kind).toBe("verified");
        expect(asked).toHaveLength(round === 1 ? 1 : 0);
        if (result.kind === "verified") subjects.add(`${result.subject} ${realm}`);
      }
    }
    expect(subjects.size).toBe(triples.length);
  });

  test("isn't cut at a NUL, in names or passwords", async () => {
    const { verifier } = provider(["ann"]);
    const cached = new CachedVerifier({ verifier, cache: new CredentialCache({ enabled: true }) });
    expect(await login(cached, "ann")).toMatchObject({ kind: "verified" });
    expect(await login(cached, "ann", "right\0anything")).toMatchObject({ kind: "rejected" });
    expect(await login(cached, "ann\0eve")).toMatchObject({ kind: "rejected" });
  });

  test("isn't filled after a flush by an answer from before it", async () => {
    const { verifier, known, asked, hold } = provider(["ann"]);
    const cache = new CredentialCache({ enabled: true });
    const cached = new CachedVerifier({ verifier, cache });
    const release = hold();
    const early = login(cached, "ann");
    await until(() => asked.length === 1);
    known.delete("ann");
    await cache.flush(ctx, { username: "ann" });
    release();
    await early;
    expect(await login(cached, "ann")).toMatchObject({ kind: "rejected" });
    expect(cache.inspect(ctx).entries).toBe(0);
  });

  test("gives no role that was taken away meanwhile", async () => {
    const { verifier, asked } = provider(["ann"]);
    const admins = new Set(["ad/ann"]);
    const localCheck = (_ctx: OperationContext, verified: Verified): VerifierResult => ({
      ...verified,
      roles: admins.has(verified.subject) ? ["admin"] : [],
    });
    const cached = new CachedVerifier({ verifier, cache: new CredentialCache({ enabled: true }), localCheck });
    expect(await login(cached, "ann")).toMatchObject({ roles: ["admin"] });
    admins.clear();
    expect(await login(cached, "ann")).toMatchObject({ roles: [], source: "cache" });
    expect(asked).toHaveLength(1);
  });

  test("asks the provider once for a thousand sign-ins at the same time", async () => {
    const { verifier, asked, hold } = provider(["ann"]);
    const cached = new CachedVerifier({ verifier, cache: new CredentialCache({ enabled: true }) });
    const release = hold();
    const logins = Promise.all(Array.from({ length: 1000 }, () => login(cached, "ann")));
    await until(() => asked.length > 0);
    release();
    expect((await logins).every(({ kind }) => kind === "verified")).toBe(true);
    expect(asked).toHaveLength(1);
  });

  test("lets guessed names push nobody out", async () => {
    const { verifier, asked } = provider(["ann"]);
    const cached = new CachedVerifier({
      verifier,
      cache: new CredentialCache({ enabled: true, size: 1, digester: quick() }),
    });
    await login(cached, "ann");
    for (let i = 0; i < 500; i++) await login(cached, `guess-${i}`);
    asked.length = 0;
    expect(await login(cached, "ann")).toMatchObject({ source: "cache" });
    expect(asked).toEqual([]);
  });

  test("makes each digest under a salt of its own, and compares under the one it was made with", async () => {
    const clock = new ManualClock();
    const { verifier } = provider(["ann", "bob"]);
    const digester = quick();
    const cached = new CachedVerifier({
      verifier,
      cache: new CredentialCache({ enabled: true, expirySeconds: 10, clock, digester }),
    });
    await login(cached, "ann");
    await login(cached, "bob");
    clock.advance(10_000);
    await login(cached, "ann");
    expect(digester.used).toEqual([1, 2, 3]);
    expect(await login(cached, "ann")).toMatchObject({ source: "cache" });
    expect(digester.used).toEqual([1, 2, 3, 3]);
  });

  test("spends the same digests and questions on a wrong password, whoever is cached", async () => {
    const { verifier, asked } = provider(["ann", "bob"]);
    const digester = quick();
    const cached = new CachedVerifier({ verifier, cache: new CredentialCache({ enabled: true, digester }) });
    await login(cached, "ann");
    const costs = [];
    for (const user of ["ann", "bob", "nobody"]) {
      const [digests, questions] = [digester.used.length, asked.length];
      await login(cached, user, "wrong");
      costs.push([digester.used.length - digests, asked.length - questions]);
    }
    expect(costs).toEqual([
      [1, 1],
      [1, 1],
      [1, 1],
    ]);
  });
});

/** Tells salts apart by number, in no time. */
function quick(): SecretDigester & { readonly used: number[] } {
  const used: number[] = [];
  let salts = 0;
  return {
    used,
    salt: () => Uint8Array.of(++salts),
    digest: async (secret, salt) => {
      used.push(salt[0] ?? 0);
      return Uint8Array.of(...salt, ...secret.revealBytes());
    },
  };
}
