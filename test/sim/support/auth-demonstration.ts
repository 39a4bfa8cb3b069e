import {
  CachedVerifier,
  type Clock,
  CredentialCache,
  type CredentialVerifier,
  OperationContext,
  Penalties,
  type Scheduler,
  Secret,
  type SecretDigester,
  type VerifierResult,
} from "@turnpike/authn";

/** One sign-in of the demonstration. */
export interface DemonstrationRow {
  readonly what: string;
  readonly answer: string;
  readonly tookMs: number;
  /** How much of it went into the digest. */
  readonly digestMs: number;
  /** Whether the provider was asked. */
  readonly asked: boolean;
}

/** Where the demonstration's time comes from. */
export interface DemonstrationWorld {
  readonly clock: Clock;
  readonly scheduler: Scheduler;
  readonly digester: SecretDigester;
  /** From 0 to 1. */
  readonly random: () => number;
}

/** How slow the provider is. */
export const PROVIDER_MS = 500;
/** How long the cache remembers. */
export const EXPIRY_SECONDS = 8;

const PASSWORDS: Readonly<Record<string, string>> = { ann: "right", bob: "right" };

/**
 * Signs in at a slow provider: for the first time, again while it is cached, again when its time is over, and with wrong
 * passwords, whether or not the user is cached. Penalties stand before the cache, as they do in the portal.
 */
export async function demonstrate(world: DemonstrationWorld): Promise<readonly DemonstrationRow[]> {
  const { clock, scheduler, digester, random } = world;
  const ctx = OperationContext.internal("demonstration");
  const later = (ms: number): Promise<void> => new Promise((resolve) => scheduler.schedule(ms, resolve));
  let calls = 0;
  const slow: CredentialVerifier = {
    provider: "slow",
    verify: async (_ctx, { username, password }): Promise<VerifierResult> => {
      calls++;
      await later(PROVIDER_MS);
      return PASSWORDS[username] === password.reveal()
        ? { kind: "verified", subject: username, groups: [], roles: [] }
        : { kind: "rejected", reason: "badCredentials" };
    },
  };
  let digestMs = 0;
  const timed: SecretDigester = {
    salt: () => digester.salt(),
    digest: async (secret, salt) => {
      const startMs = clock.monotonicMs();
      const digest = await digester.digest(secret, salt);
      digestMs += clock.monotonicMs() - startMs;
      return digest;
    },
  };
  const cache = new CredentialCache({
    enabled: true,
    expirySeconds: EXPIRY_SECONDS,
    size: 10,
    clock,
    digester: timed,
  });
  const verifier = new CachedVerifier({ verifier: slow, cache });
  const penalties = new Penalties({ clock, scheduler, random });
  const rows: DemonstrationRow[] = [];

  async function signIn(what: string, user: string, password: string): Promise<void> {
    const [startMs, before] = [clock.monotonicMs(), calls];
    digestMs = 0;
    const guarded = await penalties.guard(ctx, { address: "192.0.2.1", user }, async () => {
      const value = await verifier.verify(ctx, { username: user, password: new Secret(password) });
      return { value, verdict: value.kind === "verified" ? "succeeded" : "failed" };
    });
    const answer = guarded.kind === "answered" ? guarded.value.kind : guarded.kind;
    rows.push({ what, answer, tookMs: clock.monotonicMs() - startMs, digestMs, asked: calls > before });
  }

  await signIn("first sign-in", "ann", "right");
  await signIn("again, cached", "ann", "right");
  await signIn("again, cached", "ann", "right");
  await later(EXPIRY_SECONDS * 1000);
  await signIn("again, after its time", "ann", "right");
  await signIn("wrong password, user cached", "ann", "wrong");
  await signIn("wrong password, user not cached", "bob", "wrong");
  await signIn("right password after a wrong one", "bob", "right");
  await signIn("wrong password, user cached", "bob", "wrong");
  await signIn("the same wrong password again", "bob", "wrong");
  return rows;
}
