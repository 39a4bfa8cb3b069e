import { createHmac, randomBytes } from "node:crypto";
import type { OperationContext } from "../core/operation-context.ts";
import type { Secret } from "../core/secret.ts";
import { OverloadedError } from "../verifiers/limiter.ts";
import {
  type Credentials,
  type CredentialVerifier,
  rejectImpossible,
  unavailable,
  type Verified,
  type VerifierResult,
} from "../verifiers/verifier.ts";
import { type CacheIdentity, cacheKey } from "./cache-key.ts";
import type { CredentialCache, SaltedDigest, Ticket } from "./credential-cache.ts";
import type { CacheEntry } from "./entry-store.ts";
import { sameDigest } from "./secret-digest.ts";

/** One answer of a {@link CachedVerifier}. For operators; names are as they came. */
export interface CachedVerifierEvent {
  readonly provider: string;
  readonly realm: string;
  readonly username: string;
  readonly requestId: string;
  readonly outcome: VerifierResult["kind"];
  /** Who answered. `stale`: a success past its time, the provider being away. `negative`: a wrong password known as such. */
  readonly answeredBy: "provider" | "cache" | "stale" | "negative" | "overload";
}

/** What to put a cache before, and which. */
export interface CachedVerifierOptions {
  /** The slow path. */
  readonly verifier: CredentialVerifier;
  readonly cache: CredentialCache;
  /** Keeps apart what different realms ask of one provider. Default: the empty one. */
  readonly realm?: string;
  /**
   * The cheap checks of this installation, for every success, cached or not: is the user disabled here, which roles do
   * the groups mean today? What it returns is the answer; what it says is never cached.
   */
  readonly localCheck?: (ctx: OperationContext, verified: Verified) => VerifierResult | Promise<VerifierResult>;
  /** Called after each answer; what it throws is logged and changes nothing. */
  readonly onEvent?: (event: CachedVerifierEvent) => void;
  /** How many questions to the provider may be under way; beyond, the answer is `unavailable`. Default: 1,000. */
  readonly maxUnderWay?: number;
}

/** A question under way, shared by all who ask the same. */
interface Flight {
  readonly ticket: Ticket;
  readonly answer: Promise<VerifierResult>;
  readonly abort: AbortController;
  waiting: number;
}

type Answer = Pick<CachedVerifierEvent, "answeredBy"> & { readonly result: VerifierResult };

/** Comparing with what is cached: the digest is kept for the negative store. */
interface Comparison {
  readonly entry: CacheEntry;
  readonly digest: Uint8Array;
  readonly same: boolean;
}

/**
 * Memoizes the slow path: a user whom the provider accepted a short time ago is accepted again for the same password,
 * without asking. Everything else goes to the provider: a wrong password costs a cached user's guesser what it costs
 * any. Equal questions at the same time are one.
 */
export class CachedVerifier implements CredentialVerifier {
  readonly provider: string;
  readonly #verifier: CredentialVerifier;
  readonly #cache: CredentialCache;
  readonly #realm: string;
  readonly #localCheck: CachedVerifierOptions["localCheck"];
  readonly #onEvent: CachedVerifierOptions["onEvent"];
  readonly #maxUnderWay: number;
  readonly #flights = new Map<string, Flight>();
  #underWay = 0;
  #closed = false;
  /** Tells equal questions from others, for as long as they are under way. */
  readonly #flightKey = randomBytes(32);

  constructor({ verifier, cache, realm = "", localCheck, onEvent, maxUnderWay = 1000 }: CachedVerifierOptions) {
    this.provider = verifier.provider;
    this.#verifier = verifier;
    this.#cache = cache;
    this.#realm = realm;
    this.#localCheck = localCheck;
    this.#onEvent = onEvent;
    this.#maxUnderWay = maxUnderWay;
  }

  normalizeUsername(username: string): string {
    return this.#verifier.normalizeUsername?.(username) ?? username;
  }

  async verify(ctx: OperationContext, credentials: Credentials): Promise<VerifierResult> {
    const impossible = rejectImpossible(credentials);
    if (impossible !== undefined) return impossible;
    if (this.#closed) return unavailable("the verifier was closed");
    const identity: CacheIdentity = {
      provider: this.provider,
      realm: this.#realm,
      username: this.normalizeUsername(credentials.username),
    };
    const { result: raw, answeredBy } = await this.#answer(ctx, identity, credentials);
    const result = raw.kind === "verified" ? await this.#checkLocally(ctx, raw) : raw;
    this.#report(ctx, {
      provider: this.provider,
      realm: this.#realm,
      username: credentials.username,
      requestId: ctx.requestId,
      outcome: result.kind,
      answeredBy,
    });
    return result;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#verifier.close?.();
  }

  async #answer(ctx: OperationContext, identity: CacheIdentity, credentials: Credentials): Promise<Answer> {
    const { store, counters } = this.#cache;
    if (!this.#cache.settings.enabled) {
      return { answeredBy: "provider", result: await this.#askProvider(ctx, credentials) };
    }
    const cached = store.find(identity);
    let compared: Comparison | undefined;
    if (cached === undefined) {
      counters.misses++;
    } else {
      try {
        const digest = await this.#cache.digest(credentials.password, cached.salt);
        compared = { entry: cached, digest, same: sameDigest(digest, cached.digest) };
      } catch (error) {
        return this.#overloaded("the password could not be compared with the cached one", error);
      }
      // Flushed or replaced while the digest was made: what was compared says nothing any more.
      if (!store.isCurrent(cached)) compared = undefined;
    }
    if (compared !== undefined && compared.same && store.isFresh(compared.entry)) {
      counters.hits++;
      return { answeredBy: "cache", result: { ...compared.entry.result, source: "cache" } };
    }
    if (compared !== undefined && !compared.same) {
      counters.mismatches++;
      if (store.isWrong(compared.entry, compared.digest)) {
        counters.negativeHits++;
        const detail = "refused by the provider a moment ago";
        return { answeredBy: "negative", result: { kind: "rejected", reason: "badCredentials", detail } };
      }
    }
    const answer = await this.#ask(ctx, identity, credentials, cached === undefined);
    return compared === undefined ? answer : this.#learn(answer, compared);
  }

  /** What the provider's answer means for what is cached of that user. */
  #learn(answer: Answer, { entry, digest, same }: Comparison): Answer {
    const { store, counters } = this.#cache;
    const { result } = answer;
    if (result.kind === "rejected") {
      const wrongGuess = !same && result.reason === "badCredentials";
      if (wrongGuess) store.noteWrong(entry, digest);
      // The cached password itself was refused, or the account as a whole: the provider takes its word back.
      else if (store.withdraw(entry)) counters.withdrawn++;
    }
    // Only what is wanting in the provider may be made up for, not what is wanting here.
    if (result.kind === "unavailable" && answer.answeredBy === "provider" && same && store.isCurrent(entry)) {
      counters.staleHits++;
      return { answeredBy: "stale", result: { ...entry.result, source: "stale" } };
    }
    return answer;
  }

  async #ask(
    ctx: OperationContext,
    identity: CacheIdentity,
    credentials: Credentials,
    unknown: boolean,
  ): Promise<Answer> {
    const { counters } = this.#cache;
    const signal = credentials.signal ?? ctx.signal;
    if (signal?.aborted === true) return { answeredBy: "provider", result: unavailable("nobody waits", signal.reason) };
    const key = this.#keyOf(identity, credentials);
    let flight = this.#flights.get(key);
    // What was asked before a flush may be answered by what the flush was about.
    if (flight !== undefined && !flight.ticket.flushed && !flight.abort.signal.aborted) {
      counters.joined++;
    } else {
      if (this.#underWay >= this.#maxUnderWay) return this.#overloaded("too many sign-ins are under way");
      flight = this.#start(ctx, key, identity, credentials, unknown);
    }
    flight.waiting++;
    try {
      return { answeredBy: "provider", result: await untilAborted(flight.answer, signal) };
    } finally {
      flight.waiting--;
      if (flight.waiting === 0) flight.abort.abort(new Error("Nobody waits for the answer any more"));
    }
  }

  #start(
    ctx: OperationContext,
    key: string,
    identity: CacheIdentity,
    { username, password }: Credentials,
    unknown: boolean,
  ): Flight {
    const abort = new AbortController();
    const ticket = this.#cache.ticket(identity);
    this.#underWay++;
    const answer = this.#askAndKeep(ctx, ticket, { username, password, signal: abort.signal }, unknown).finally(() => {
      this.#underWay--;
      this.#cache.release(ticket);
      if (this.#flights.get(key) === flight) this.#flights.delete(key);
    });
    const flight: Flight = { ticket, answer, abort, waiting: 0 };
    this.#flights.set(key, flight);
    return flight;
  }

  async #askAndKeep(
    ctx: OperationContext,
    ticket: Ticket,
    credentials: Credentials,
    unknown: boolean,
  ): Promise<VerifierResult> {
    // Whoever is cached cost a digest already. Made beforehand for the others, a refusal takes everyone the same time,
    // and doesn't tell who signed in lately.
    let digested = unknown ? await this.#digestToKeep(ctx, credentials.password) : undefined;
    const result = await this.#askProvider(ctx, credentials);
    if (result.kind !== "verified") return result;
    if (!unknown) digested = await this.#digestToKeep(ctx, credentials.password);
    if (digested !== undefined) this.#cache.insert(ticket, digested, result);
    return result;
  }

  /** That an answer can't be kept is no reason to do without it. */
  async #digestToKeep(ctx: OperationContext, password: Secret): Promise<SaltedDigest | undefined> {
    try {
      return await this.#cache.digestFresh(password);
    } catch (error) {
      this.#cache.counters.overloads++;
      ctx.logger.debug({ requestId: ctx.requestId, error: String(error) }, "a success can't be cached");
      return undefined;
    }
  }

  async #askProvider(ctx: OperationContext, credentials: Credentials): Promise<VerifierResult> {
    const { counters } = this.#cache;
    counters.backendCalls++;
    let result: VerifierResult;
    try {
      result = await this.#verifier.verify(ctx, credentials);
    } catch (error) {
      result = unavailable(`verifier "${this.provider}" failed`, error);
    }
    if (result.kind === "unavailable") counters.backendUnavailable++;
    return result;
  }

  async #checkLocally(ctx: OperationContext, verified: Verified): Promise<VerifierResult> {
    if (this.#localCheck === undefined) return verified;
    try {
      return await this.#localCheck(ctx, verified);
    } catch (error) {
      return unavailable("the local checks failed", error);
    }
  }

  #overloaded(message: string, error?: unknown): Answer {
    this.#cache.counters.overloads++;
    const cause = error instanceof OverloadedError || error === undefined ? undefined : error;
    return { answeredBy: "overload", result: unavailable(message, cause) };
  }

  /** Equal for equal questions only. Keyed, and gone with the question: nothing that could be tried offline. */
  #keyOf(identity: CacheIdentity, { username, password }: { username: string; password: Secret }): string {
    const mac = createHmac("sha256", this.#flightKey).update(password.revealBytes()).digest("base64");
    return cacheKey({ provider: cacheKey(identity), realm: username, username: mac });
  }

  #report(ctx: OperationContext, event: CachedVerifierEvent): void {
    try {
      this.#onEvent?.(event);
    } catch (error) {
      ctx.logger.error({ requestId: ctx.requestId, error: String(error) }, "a listener of the credential cache failed");
    }
  }
}

/** The answer, or that nobody waits for it any more. */
function untilAborted(answer: Promise<VerifierResult>, signal: AbortSignal | undefined): Promise<VerifierResult> {
  if (signal === undefined) return answer;
  return new Promise((resolve, reject) => {
    const abort = (): void => resolve(unavailable("nobody waits for the answer any more", signal.reason));
    signal.addEventListener("abort", abort, { once: true });
    answer.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
