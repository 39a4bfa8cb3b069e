import { createHash, randomBytes } from "node:crypto";
import type { Duplex } from "node:stream";
import { abortable, type Clock, delay, reasonOf, systemClock } from "../clock.ts";
import { describeTarget, type ConfiguredNetwork, type Gate } from "../gate.ts";
import { type HintLogger, silentLogger } from "../handler.ts";
import type { DialTarget } from "../network.ts";
import { socksConnect, SocksError } from "../socks-client.ts";
import { type OnionService, OnionRegistry } from "./onion.ts";
import { type Started, startTor, type TorSettings, torTargets } from "./start.ts";

/** What Tor is doing for us. Times are of the clock that was given. */
export type TorState =
  | { readonly kind: "idle" }
  | { readonly kind: "starting"; readonly progress: number | undefined; readonly summary: string }
  | { readonly kind: "ready"; readonly socks: string | undefined; readonly mode: "socks" | "control" | "launch" }
  | { readonly kind: "failed"; readonly cause: Error; readonly retryAt: number };

/** Tor cannot be used at the moment. The next call tries again. */
export class TorUnavailableError extends Error {
  override readonly name = "TorUnavailableError";
}

/** What {@link createTor} needs. */
export interface TorOptions {
  readonly settings: TorSettings;
  readonly gate: Gate;
  readonly clock?: Clock;
  readonly logger?: HintLogger;
  /** For getting Tor to the point where it carries streams. Default 180,000. */
  readonly startTimeoutMilliseconds?: number;
  /** After a first failure; doubles with each further one, up to 30,000. Default 500. */
  readonly backOffMilliseconds?: number;
}

/** A way through Tor. Nothing happens before the first use. */
export interface Tor {
  /** What it is doing. */
  readonly state: TorState;
  /** Calls `listener` at every change of state. Returns what stops that. */
  watch(listener: (state: TorState) => void): () => void;
  /**
   * Asks whether Tor may be asked for a host.
   *
   * @throws PolicyError for numeric addresses that are not global.
   */
  checkDestination(host: string): void;
  /**
   * Waits until Tor can carry streams. One attempt for all that wait; after a failure the next one waits out the back-off.
   *
   * @throws TorUnavailableError
   */
  ready(options: { readonly signal: AbortSignal; readonly status?: (detail: string) => void }): Promise<void>;
  /** Opens a stream. Streams to different destinations, and of different `Tor` objects, share no circuit. */
  connect(options: {
    readonly host: string;
    readonly port: number;
    readonly signal: AbortSignal;
    readonly status?: (detail: string) => void;
  }): Promise<Duplex>;
  /** Creates a version 3 onion service, and creates it again whenever Tor comes back. Needs a control port. */
  createOnion(options: {
    /** `ED25519-V3:…`; absent: Tor makes one. */
    readonly key: string | undefined;
    readonly virtualPort: number;
    readonly target: DialTarget;
    readonly signal: AbortSignal;
    readonly status?: (detail: string) => void;
  }): Promise<OnionService>;
  /** Ends what was started: control connection, onion services, a launched `tor`. */
  close(): Promise<void>;
}

/** Makes a way through Tor from local configuration. */
export function createTor(options: TorOptions): Tor {
  return new TorClient(options);
}

const longestBackOff = 30_000;

class TorClient implements Tor {
  readonly #options: TorOptions;
  readonly #clock: Clock;
  readonly #logger: HintLogger;
  readonly #network: ConfiguredNetwork;
  readonly #watchers: Set<(state: TorState) => void> = new Set();
  readonly #onions: OnionRegistry = new OnionRegistry();
  readonly #isolation: string = randomBytes(8).toString("hex");
  readonly #closing: AbortController = new AbortController();
  #state: TorState = { kind: "idle" };
  #starting: Promise<Started> | undefined;
  #started: Started | undefined;
  #failures = 0;

  constructor(options: TorOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#logger = options.logger ?? silentLogger;
    this.#network = options.gate.configured("tor", torTargets(options.settings));
  }

  get state(): TorState {
    return this.#state;
  }

  watch(listener: (state: TorState) => void): () => void {
    this.#watchers.add(listener);
    return () => this.#watchers.delete(listener);
  }

  checkDestination(host: string): void {
    this.#options.gate.checkRemote(host);
  }

  async ready(options: { readonly signal: AbortSignal; readonly status?: (detail: string) => void }): Promise<void> {
    await this.#use(options);
  }

  async connect(options: {
    readonly host: string;
    readonly port: number;
    readonly signal: AbortSignal;
    readonly status?: (detail: string) => void;
  }): Promise<Duplex> {
    const { host, port, signal } = options;
    this.checkDestination(host);
    const started = await this.#use(options);
    const { socks } = started;
    if (socks === undefined) throw unavailable("it has no SOCKS port; add SocksPort to its torrc", undefined);
    options.status?.("Tor: building a circuit");
    let stream: Duplex;
    try {
      stream = await this.#network.dial(socks, { signal });
    } catch (error) {
      if (signal.aborted) throw reasonOf(signal);
      const lost = unavailable(`its SOCKS port ${describeTarget(socks)} does not answer`, error);
      await this.#lose(started, lost);
      throw lost;
    }
    try {
      return await socksConnect(stream, {
        host,
        port,
        username: `turnpike-${this.#isolation}`,
        password: createHash("sha256").update(`${host}:${port}`).digest("hex"),
        signal,
      });
    } catch (error) {
      if (!(error instanceof SocksError) || error.reply !== undefined) throw error;
      throw unavailable(`${describeTarget(socks)} broke off (${error.message})`, error);
    }
  }

  async createOnion(options: {
    readonly key: string | undefined;
    readonly virtualPort: number;
    readonly target: DialTarget;
    readonly signal: AbortSignal;
    readonly status?: (detail: string) => void;
  }): Promise<OnionService> {
    const started = await this.#use(options);
    if (started.control === undefined) {
      throw new TorUnavailableError(
        "An onion service needs Tor's control port: set hints.tor.control or hints.tor.launch",
      );
    }
    options.status?.("Tor: publishing the onion service");
    return this.#onions.create(started.control, { ...options, clock: this.#clock });
  }

  async close(): Promise<void> {
    this.#closing.abort(new TorUnavailableError("Tor is not used any more: it was closed"));
    await this.#starting?.catch(() => undefined);
    const started = this.#started;
    this.#started = undefined;
    await started?.stop();
    this.#set({ kind: "idle" });
  }

  async #use(options: { readonly signal: AbortSignal; readonly status?: (detail: string) => void }): Promise<Started> {
    const { signal, status } = options;
    if (this.#closing.signal.aborted) throw reasonOf(this.#closing.signal);
    if (this.#started !== undefined) return this.#started;
    const stop = this.watch((state) => status?.(describeTorState(state)));
    try {
      this.#starting ??= this.#start().finally(() => {
        this.#starting = undefined;
      });
      status?.(describeTorState(this.#state));
      return await abortable(this.#starting, signal);
    } finally {
      stop();
    }
  }

  async #start(): Promise<Started> {
    const closing = this.#closing.signal;
    if (this.#state.kind === "failed") {
      const wait = this.#state.retryAt - this.#clock.now();
      if (wait > 0) await delay(this.#clock, wait, closing);
    }
    const limit = this.#options.startTimeoutMilliseconds ?? 180_000;
    const deadline = new AbortController();
    const cancel = this.#clock.after(limit, () => {
      deadline.abort(new Error(`it was not ready within ${limit / 1000} s`));
    });
    this.#set({ kind: "starting", progress: undefined, summary: "looking for it" });
    try {
      const started = await startTor(this.#options.settings, {
        network: this.#network,
        clock: this.#clock,
        signal: AbortSignal.any([closing, deadline.signal]),
        onProgress: (progress, summary) => this.#set({ kind: "starting", progress, summary }),
      });
      this.#started = started;
      this.#failures = 0;
      this.#set({ kind: "ready", socks: started.socks && describeTarget(started.socks), mode: started.mode });
      void started.lost.then((cause) => this.#lose(started, unavailable(cause.message, cause)));
      if (started.control !== undefined) await this.#onions.restore(started.control, closing);
      return started;
    } catch (error) {
      if (closing.aborted) throw reasonOf(closing);
      const cause = unavailable(error instanceof Error ? error.message : String(error), error);
      this.#fail(cause);
      throw cause;
    } finally {
      cancel();
    }
  }

  /** What we had is gone: the next use starts over, after the back-off; onion services ask for it by themselves. */
  async #lose(started: Started, cause: TorUnavailableError): Promise<void> {
    if (this.#started !== started) return;
    this.#started = undefined;
    this.#fail(cause);
    await started.stop();
    if (this.#onions.size === 0 || this.#closing.signal.aborted) return;
    void this.#restoreOnions();
  }

  async #restoreOnions(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted && this.#onions.size > 0 && this.#started === undefined) {
      try {
        await this.#use({ signal });
      } catch (error) {
        this.#logger.debug({ error }, "Tor is still away; its onion services wait");
      }
    }
  }

  #fail(cause: TorUnavailableError): void {
    const first = this.#options.backOffMilliseconds ?? 500;
    const wait = Math.min(longestBackOff, first * 2 ** Math.min(this.#failures, 16));
    this.#failures += 1;
    this.#logger.warn({ error: cause, retryInMilliseconds: wait }, "Tor is not available");
    this.#set({ kind: "failed", cause, retryAt: this.#clock.now() + wait });
  }

  #set(state: TorState): void {
    this.#state = state;
    for (const watcher of this.#watchers) watcher(state);
  }
}

/** A state of Tor for people. */
export function describeTorState(state: TorState): string {
  switch (state.kind) {
    case "idle":
      return "Tor: not used yet";
    case "starting":
      return state.progress === undefined ? `Tor: ${state.summary}` : `Tor: ${state.progress}% ${state.summary}`;
    case "ready":
      return state.socks === undefined ? "Tor: ready, without a SOCKS port" : `Tor: ready at ${state.socks}`;
    case "failed":
      return `Tor: ${state.cause.message}; trying again soon`;
  }
}

function unavailable(why: string, cause: unknown): TorUnavailableError {
  if (cause instanceof TorUnavailableError) return cause;
  return new TorUnavailableError(`Tor is not available: ${why}`, cause === undefined ? undefined : { cause });
}
