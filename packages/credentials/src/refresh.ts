import { ambient, type FetchInit, type FetchResponse } from "./ambient.ts";
import { type IceServer, readIceServers, type ReceivedIceServers } from "./ice-servers.ts";
import { parseTimeLimitedName } from "./time-limited-name.ts";

/** What of an `RTCPeerConnection` is needed: every browser's is one. */
export interface PeerConnectionLike {
  readonly signalingState: string;
  readonly localDescription: unknown;
  getConfiguration(): object;
  setConfiguration(configuration: object): void;
  restartIce(): void;
}

/** A set of ICE servers and when it ends. */
export interface CurrentIceServers {
  readonly iceServers: readonly IceServer[];
  /** Milliseconds since 1970. */
  readonly expiresAtUnixMs: number;
}

/** The outside world, replaceable. Each default is the global of that name. */
export interface RefreshWorld {
  fetch?(input: string, init: FetchInit): Promise<FetchResponse>;
  /** Milliseconds since 1970. */
  nowUnixMs?(): number;
  /** Calls back after `delayMs`; the result is given to `clearTimeout`. */
  setTimeout?(callback: () => void, delayMs: number): unknown;
  clearTimeout?(timer: unknown): void;
  /** Evenly in 0…1, for the spread of retries. */
  random?(): number;
}

/** What {@link refreshIceServers} needs. */
export interface RefreshOptions {
  /** Where the credentials come from: a URL to fetch, or a function that answers what {@link readIceServers} reads. */
  readonly source: string | ((options: { readonly signal: never }) => Promise<unknown>);
  /** Of the request to a URL. Default: POST without a body, cookies to the same origin only. */
  readonly request?: {
    readonly method?: "GET" | "POST";
    readonly headers?: Readonly<Record<string, string>>;
    readonly body?: string;
    readonly credentials?: "omit" | "same-origin" | "include";
  };
  /** Connections that get every new set. More can be added with {@link IceServersRefresher.attach}. */
  readonly peerConnections?: readonly PeerConnectionLike[];
  /** Whether connections that have begun restart ICE with new servers. Default true. */
  readonly restartIce?: boolean;
  /** How long before the end a new set is fetched. Default 60; never more than half of the time that was left. */
  readonly refreshBeforeSeconds?: number;
  /** How long a set lasts if neither the answer nor the user names say it. Default 3600. */
  readonly assumedTtlSeconds?: number;
  /** How long one fetch may take. Default 10. */
  readonly timeoutSeconds?: number;
  /** Each new set. */
  readonly onIceServers?: (current: CurrentIceServers) => void;
  /** Each failure; it is tried again after `retryInMs`. */
  readonly onError?: (error: unknown, context: { readonly attempt: number; readonly retryInMs: number }) => void;
  readonly world?: RefreshWorld;
}

/** Keeps ICE servers fresh until it is stopped. */
export interface IceServersRefresher {
  /** The first set. Rejected only by {@link stop}, since failures are retried. */
  readonly ready: Promise<CurrentIceServers>;
  /** The newest set, if there is one yet; it may have ended if the source is away. */
  readonly current: CurrentIceServers | undefined;
  /** Gives a connection the newest set, and every later one until it is closed. Attaching it twice is once. */
  attach(peerConnection: PeerConnectionLike): void;
  /** Gives it no more. */
  detach(peerConnection: PeerConnectionLike): void;
  /** Fetches a new set without waiting for its time, for instance when the page is woken up. */
  refresh(): void;
  /** Ends it: no timer, no fetch and no call-back is left. */
  stop(): void;
}

/** Timers of browsers stand still while a machine sleeps: the wall clock is looked at this often. */
const LONGEST_TIMER_MS = 60_000;

/** The first retry comes within a second, later ones within a minute. */
const RETRY_MS = { first: 1000, most: 60_000 };

/** Nobody is asked more often than this, however short the credentials live or far the clocks are apart. */
const SHORTEST_INTERVAL_MS = 15_000;

/**
 * Fetches ICE servers, fetches new ones before they end, and hands each set to the connections: `setConfiguration`
 * (everything else of the configuration stays), then `restartIce` if the connection has begun, so that its
 * next negotiation gathers with the new credentials. Failures are retried with exponential back-off and
 * jitter; `Retry-After` in seconds is obeyed.
 *
 * @example
 * ```ts
 * import { refreshIceServers } from "@turnpike/credentials";
 * const peerConnection = new RTCPeerConnection();
 * const refresher = refreshIceServers({ source: "/v1/credentials", peerConnections: [peerConnection] });
 * await refresher.ready;
 * ```
 * @throws RangeError if a time is not a positive number.
 */
export function refreshIceServers(options: RefreshOptions): IceServersRefresher {
  return new Refresher(options);
}

class Refresher implements IceServersRefresher {
  readonly ready: Promise<CurrentIceServers>;
  readonly #options: RefreshOptions;
  readonly #world: RefreshWorld;
  readonly #times: { readonly beforeMs: number; readonly assumedTtlMs: number; readonly timeoutMs: number };
  readonly #peerConnections: Set<PeerConnectionLike>;
  readonly #settle: { resolve(current: CurrentIceServers): void; reject(error: Error): void };
  #current: CurrentIceServers | undefined;
  #timer: { readonly handle: unknown } | undefined;
  #fetching: { abort(reason?: unknown): void } | undefined;
  #attempt = 0;
  #stopped = false;

  constructor(options: RefreshOptions) {
    this.#options = options;
    this.#world = options.world ?? {};
    this.#times = {
      beforeMs: positiveMs(options.refreshBeforeSeconds, 60, "refreshBeforeSeconds"),
      assumedTtlMs: positiveMs(options.assumedTtlSeconds, 3600, "assumedTtlSeconds"),
      timeoutMs: positiveMs(options.timeoutSeconds, 10, "timeoutSeconds"),
    };
    this.#peerConnections = new Set(options.peerConnections);
    const { promise, resolve, reject } = Promise.withResolvers<CurrentIceServers>();
    this.ready = promise;
    this.#settle = { resolve, reject };
    // Who never looks at `ready` and stops early has no unhandled rejection.
    promise.catch(() => undefined);
    this.#fetch();
  }

  get current(): CurrentIceServers | undefined {
    return this.#current;
  }

  attach(peerConnection: PeerConnectionLike): void {
    if (this.#stopped || this.#peerConnections.has(peerConnection)) return;
    this.#peerConnections.add(peerConnection);
    if (this.#current !== undefined) this.#handOver(peerConnection, this.#current);
  }

  detach(peerConnection: PeerConnectionLike): void {
    this.#peerConnections.delete(peerConnection);
  }

  refresh(): void {
    if (this.#stopped || this.#fetching !== undefined) return;
    this.#fetch();
  }

  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#clearTimer();
    this.#fetching?.abort();
    this.#fetching = undefined;
    this.#peerConnections.clear();
    this.#settle.reject(new Error("The refresh of ICE servers was stopped before the first set came"));
  }

  #fetch(): void {
    this.#clearTimer();
    const controller = new ambient.AbortController();
    this.#fetching = controller;
    this.#timer = this.#startTimer(() => {
      controller.abort();
      this.#failed(controller, new Error("The source of ICE servers did not answer in time"));
    }, this.#times.timeoutMs);
    this.#ask(controller.signal).then(
      (received) => {
        if (this.#fetching === controller) this.#succeeded(received);
      },
      (error: unknown) => {
        this.#failed(controller, error);
      },
    );
  }

  async #ask(signal: never): Promise<ReceivedIceServers> {
    const { source, request = {} } = this.#options;
    const world = this.#world;
    if (typeof source === "function") return readIceServers(await source({ signal }));
    const { method = "POST", headers = {}, body, credentials = "same-origin" } = request;
    const init = {
      method,
      headers: { accept: "application/json", ...headers },
      ...(body === undefined ? {} : { body }),
      credentials,
      cache: "no-store" as const,
      signal,
    };
    const response = await (world.fetch ? world.fetch(source, init) : ambient.fetch(source, init));
    if (!response.ok) throw new IceServersUnavailableError(response);
    return readIceServers(await response.json());
  }

  #succeeded(received: ReceivedIceServers): void {
    this.#fetching = undefined;
    this.#attempt = 0;
    const nowMs = this.#nowUnixMs();
    const expiresAtUnixMs = expiryOf(received, nowMs) ?? nowMs + this.#times.assumedTtlMs;
    const current = { iceServers: received.iceServers, expiresAtUnixMs };
    this.#current = current;
    const leftMs = expiresAtUnixMs - nowMs;
    this.#waitUntil(expiresAtUnixMs - Math.min(this.#times.beforeMs, leftMs / 2), nowMs + SHORTEST_INTERVAL_MS);
    this.#settle.resolve(current);
    for (const peerConnection of this.#peerConnections) this.#handOver(peerConnection, current);
    if (!this.#stopped) this.#options.onIceServers?.(current);
  }

  #failed(controller: { abort(reason?: unknown): void }, error: unknown): void {
    if (this.#fetching !== controller) return;
    this.#fetching = undefined;
    this.#attempt += 1;
    const ceilingMs = Math.min(RETRY_MS.most, RETRY_MS.first * 2 ** (this.#attempt - 1));
    const asked = error instanceof IceServersUnavailableError ? (error.retryAfterSeconds ?? 0) * 1000 : 0;
    const retryInMs = Math.max(asked, Math.round(ceilingMs * (0.5 + (this.#world.random?.() ?? ambientRandom()) / 2)));
    const nowMs = this.#nowUnixMs();
    this.#waitUntil(nowMs + retryInMs, nowMs);
    this.#options.onError?.(error, { attempt: this.#attempt, retryInMs });
  }

  #waitUntil(atUnixMs: number, notBeforeUnixMs: number): void {
    this.#clearTimer();
    const dueUnixMs = Math.max(atUnixMs, notBeforeUnixMs);
    const waitMs = Math.max(0, dueUnixMs - this.#nowUnixMs());
    this.#timer = this.#startTimer(
      () => {
        if (this.#nowUnixMs() >= dueUnixMs) this.#fetch();
        else this.#waitUntil(dueUnixMs, dueUnixMs);
      },
      Math.min(waitMs, LONGEST_TIMER_MS),
    );
  }

  #handOver(peerConnection: PeerConnectionLike, current: CurrentIceServers): void {
    if (peerConnection.signalingState === "closed") {
      this.#peerConnections.delete(peerConnection);
      return;
    }
    try {
      const configuration = { ...peerConnection.getConfiguration(), iceServers: current.iceServers };
      peerConnection.setConfiguration(configuration);
      if (peerConnection.localDescription !== null && this.#options.restartIce !== false) peerConnection.restartIce();
    } catch (error) {
      this.#peerConnections.delete(peerConnection);
      this.#options.onError?.(error, { attempt: 0, retryInMs: 0 });
    }
  }

  #nowUnixMs(): number {
    return this.#world.nowUnixMs?.() ?? ambient.Date.now();
  }

  #startTimer(callback: () => void, delayMs: number): { readonly handle: unknown } {
    const world = this.#world;
    return { handle: world.setTimeout ? world.setTimeout(callback, delayMs) : ambient.setTimeout(callback, delayMs) };
  }

  #clearTimer(): void {
    if (this.#timer === undefined) return;
    const world = this.#world;
    if (world.clearTimeout) world.clearTimeout(this.#timer.handle);
    else ambient.clearTimeout(this.#timer.handle);
    this.#timer = undefined;
  }
}

/** The credential service answered with another status than success. */
export class IceServersUnavailableError extends Error {
  override readonly name = "IceServersUnavailableError";
  readonly code = "ERR_ICE_SERVERS_UNAVAILABLE";
  /** Of the HTTP answer. */
  readonly status: number;
  /** `Retry-After`, if it was a number of seconds: at most an hour. */
  readonly retryAfterSeconds: number | undefined;

  constructor(response: FetchResponse) {
    super(`Cannot fetch ICE servers: the source answered with status ${String(response.status)}`);
    this.status = response.status;
    const seconds = Number(response.headers.get("retry-after") ?? Number.NaN);
    this.retryAfterSeconds = seconds >= 0 ? Math.min(seconds, 3600) : undefined;
  }
}

/** By the duration if the answer has one, since clocks differ; else the earliest end that it or its user names tell. */
function expiryOf(received: ReceivedIceServers, nowMs: number): number | undefined {
  const { expiresAt, ttlSeconds, iceServers } = received;
  if (ttlSeconds !== undefined && ttlSeconds > 0) return nowMs + ttlSeconds * 1000;
  const ends = iceServers.map(({ username }) => {
    const seconds = username === undefined ? undefined : parseTimeLimitedName(username)?.expiresAtUnixSeconds;
    return seconds === undefined ? Number.NaN : seconds * 1000;
  });
  if (typeof expiresAt === "number") ends.push(expiresAt * 1000);
  if (typeof expiresAt === "string") ends.push(ambient.Date.parse(expiresAt));
  const known = ends.filter((end) => Number.isFinite(end));
  return known.length === 0 ? undefined : Math.min(...known);
}

function positiveMs(seconds: number | undefined, fallback: number, name: string): number {
  const value = seconds ?? fallback;
  if (!Number.isFinite(value) || value <= 0) {
    throw new RangeError(`Cannot refresh ICE servers: ${name} must be a positive number of seconds`);
  }
  return value * 1000;
}

function ambientRandom(): number {
  const word = new Uint8Array(4);
  ambient.crypto.getRandomValues(word);
  return new DataView(word.buffer).getUint32(0) / 2 ** 32;
}
