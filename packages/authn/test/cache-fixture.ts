import { createHash } from "node:crypto";
import { CachedVerifier, type CachedVerifierEvent, type CachedVerifierOptions } from "../src/cache/cached-verifier.ts";
import { CredentialCache, type CredentialCacheOptions } from "../src/cache/credential-cache.ts";
import type { SecretDigester } from "../src/cache/secret-digest.ts";
import { OperationContext } from "../src/core/operation-context.ts";
import { Secret } from "../src/core/secret.ts";
import { ManualClock } from "../src/testing/manual-clock.ts";
import type { Credentials, CredentialVerifier, VerifierResult } from "../src/verifiers/verifier.ts";
import { unavailable } from "../src/verifiers/verifier.ts";

/** A quick digest for tests whose subject isn't the digest. Its salts are 1, 2, 3 … */
export class QuickDigester implements SecretDigester {
  made = 0;
  /** Set: each digest waits for it. */
  hold: Promise<void> | undefined;

  salt(): Uint8Array {
    this.made++;
    return Uint8Array.of(this.made >> 8, this.made & 0xff);
  }

  async digest(secret: Secret, salt: Uint8Array): Promise<Uint8Array> {
    const digest = createHash("sha256").update(salt).update(secret.revealBytes()).digest();
    await this.hold;
    return digest;
  }
}

/** A provider whose passwords, moods and answers a test sets. */
export class FakeProvider implements CredentialVerifier {
  readonly provider: string = "fake";
  readonly passwords: Map<string, string> = new Map();
  readonly locked: Set<string> = new Set();
  readonly groups: Map<string, readonly string[]> = new Map();
  readonly calls: { readonly username: string; readonly password: string }[] = [];
  down = false;
  expiresAtUnixMs: number | undefined;
  /** Set: each answer, decided when asked, waits for it. */
  hold: Promise<void> | undefined;
  aborted = 0;

  normalizeUsername(username: string): string {
    return username.toLowerCase();
  }

  async verify(_ctx: OperationContext, { username, password, signal }: Credentials): Promise<VerifierResult> {
    this.calls.push({ username, password: password.reveal() });
    signal?.addEventListener("abort", () => this.aborted++, { once: true });
    const answer = this.#decide(username.toLowerCase(), password.reveal());
    await this.hold;
    return answer;
  }

  #decide(username: string, password: string): VerifierResult {
    if (this.down) return unavailable("down");
    const right = this.passwords.get(username);
    if (right === undefined) return { kind: "rejected", reason: "unknownUser" };
    if (this.locked.has(username)) return { kind: "rejected", reason: "locked" };
    if (right !== password) return { kind: "rejected", reason: "badCredentials" };
    return {
      kind: "verified",
      subject: `id-${username}`,
      groups: this.groups.get(username) ?? [],
      roles: [],
      ...(this.expiresAtUnixMs === undefined ? {} : { expiresAtUnixMs: this.expiresAtUnixMs }),
    };
  }
}

const ctx = OperationContext.internal("test");

/** A cache of three entries for ten seconds before a {@link FakeProvider} that knows ann and bob. */
export function setUp({
  cache: cacheOptions = {},
  verifier: verifierOptions = {},
}: { cache?: CredentialCacheOptions; verifier?: Partial<CachedVerifierOptions> } = {}) {
  const clock = new ManualClock();
  const provider = new FakeProvider();
  const digester = new QuickDigester();
  provider.passwords.set("ann", "right").set("bob", "bobs");
  const events: CachedVerifierEvent[] = [];
  const cache = new CredentialCache({
    enabled: true,
    expirySeconds: 10,
    size: 3,
    negativeExpirySeconds: 5,
    clock,
    digester,
    ...cacheOptions,
  });
  const verifier = new CachedVerifier({
    verifier: provider,
    cache,
    onEvent: (event) => events.push(event),
    ...verifierOptions,
  });
  const login = (username: string, password: string, signal?: AbortSignal) =>
    verifier.verify(ctx, { username, password: new Secret(password), signal });
  return { clock, provider, digester, cache, verifier, events, login };
}

/** Lets everything run that waits for nothing from outside. */
export async function turns(): Promise<void> {
  await new Promise(setImmediate);
}
