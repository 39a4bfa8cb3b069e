import { isIP } from "node:net";
import type { Duplex } from "node:stream";
import { classifyAddress } from "./address-policy.ts";
import { abortable, type Clock, reasonOf } from "./clock.ts";
import type { Connection, ConnectOptions } from "./connector.ts";
import type { HintPolicy, Network } from "./gate.ts";
import type { Endpoint, HintHandler, HintLogger } from "./handler.ts";
import { InvalidHintError, printable } from "./hint-error.ts";
import { type Hint, parseHint } from "./hint.ts";
import { type HintPlan, type Lane, Race, type RaceOptions, type RaceOutput } from "./race.ts";

interface Setting {
  readonly options: ConnectOptions;
  readonly handlers: ReadonlyMap<string, HintHandler>;
  readonly network: Network;
  readonly policy: HintPolicy;
  readonly race: RaceOptions;
  readonly clock: Clock;
  readonly logger: HintLogger;
}

interface Runner {
  readonly hint: Hint;
  readonly scope: AbortController;
  endpoint: Endpoint | undefined;
}

/** Drives one {@link Race}: does what it asks for, and tells it what came of it. */
export class ConnectRun {
  readonly #setting: Setting;
  readonly #race: Race;
  readonly #runners: Map<number, Runner> = new Map();
  readonly #attempts: Map<number, AbortController> = new Map();
  readonly #streams: Map<number, Duplex> = new Map();
  readonly #outcome: PromiseWithResolvers<Connection> = Promise.withResolvers();
  readonly #known: Set<string> = new Set();
  #cancelTimer: () => void = () => undefined;
  #stopSource: () => void = () => undefined;

  constructor(setting: Setting) {
    this.#setting = setting;
    this.#race = new Race({ ...setting.race, now: setting.clock.now() });
  }

  async run(): Promise<Connection> {
    const { hints, moreHints, signal } = this.#setting.options;
    const onAbort = (): void => {
      if (signal !== undefined) this.#race.cancel(reasonOf(signal), this.#now());
      this.#pump();
    };
    if (signal?.aborted === true) onAbort();
    else signal?.addEventListener("abort", onAbort, { once: true });
    this.#addAll(hints);
    if (moreHints === undefined) this.#race.endHints(this.#now());
    else void this.#addMore(moreHints);
    this.#pump();
    try {
      return await this.#outcome.promise;
    } finally {
      signal?.removeEventListener("abort", onAbort);
      this.#stopSource();
    }
  }

  async #addMore(source: AsyncIterable<readonly string[]>): Promise<void> {
    const iterator = source[Symbol.asyncIterator]();
    this.#stopSource = () => void iterator.return?.();
    try {
      for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) {
        this.#addAll(next.value);
        this.#pump();
        if (this.#race.over) return;
      }
    } catch (error) {
      this.#setting.logger.warn({ error }, "The source of further hints failed");
    }
    this.#race.endHints(this.#now());
    this.#pump();
  }

  #addAll(texts: readonly string[]): void {
    const added = texts.map((text) => this.#add(text)).filter((index) => index !== undefined);
    for (const index of added) this.#prepare(index);
    this.#race.timeout(this.#now());
  }

  #add(text: string): number | undefined {
    if (this.#race.over || this.#known.has(text)) return undefined;
    const { handlers } = this.#setting;
    let hint: Hint;
    try {
      if (this.#race.full) throw new InvalidHintError({ code: "too-many", hint: text, offset: 0 });
      hint = parseHint(text, { hasHandler: (type) => handlers.has(type) });
    } catch (error) {
      // What is ignored is not remembered beyond a bounded few: a list of thousands costs no more than its length.
      if (this.#known.size < 64) {
        this.#known.add(text.slice(0, 300));
        this.#ignore(this.#race.addHint({ text: printable(text), type: "" }, this.#now()), error);
      }
      return undefined;
    }
    if (this.#known.has(hint.text)) return undefined;
    this.#known.add(hint.text);
    this.#known.add(text);
    const index = this.#race.addHint({ text: hint.text, type: hint.type }, this.#now());
    this.#runners.set(index, { hint, scope: new AbortController(), endpoint: undefined });
    return index;
  }

  #prepare(index: number): void {
    const runner = this.#runners.get(index);
    if (runner === undefined) return;
    const { handlers, network, policy, logger, options } = this.#setting;
    const planned = (endpoint: Endpoint): void => {
      runner.endpoint = endpoint;
      this.#race.plan(index, planOf(endpoint), this.#now());
    };
    try {
      const made = handlers.get(runner.hint.type)?.toEndpoint({
        hint: runner.hint,
        signal: runner.scope.signal,
        status: (detail) => {
          this.#race.detail(index, printable(detail, 120));
          this.#notify();
        },
        policy,
        network,
        logger,
        identity: options.identity,
      });
      if (made === undefined) throw new InvalidHintError({ code: "unknown-type", hint: runner.hint.text, offset: 0 });
      if (!(made instanceof Promise)) {
        planned(made);
        return;
      }
      void made
        .then(planned, (error: unknown) => this.#ignore(index, error))
        .finally(() => {
          this.#race.timeout(this.#now());
          this.#pump();
        });
    } catch (error) {
      this.#ignore(index, error);
    }
  }

  #ignore(index: number, error: unknown): void {
    this.#race.ignore(index, asError(error), this.#now());
  }

  /** Does everything that the race asks for, until nothing is left; then sets the timer. */
  #pump(): void {
    for (let output = this.#race.poll(); output !== undefined; output = this.#race.poll()) this.#carryOut(output);
    this.#cancelTimer();
    this.#cancelTimer = () => undefined;
    const next = this.#race.pollTimeout();
    if (next !== undefined) {
      this.#cancelTimer = this.#setting.clock.after(Math.max(0, next - this.#now()), () => {
        this.#race.timeout(this.#now());
        this.#pump();
      });
    }
    this.#notify();
  }

  #carryOut(output: RaceOutput): void {
    switch (output.kind) {
      case "resolve":
        void this.#resolve(output.hint, output.family);
        return;
      case "connect":
        void this.#connect(output.attempt, output.hint, output.address);
        return;
      case "abandon":
        this.#attempts.get(output.attempt)?.abort(new Error("Abandoned"));
        this.#attempts.delete(output.attempt);
        return;
      case "won":
        this.#win(output.attempt, output.hint);
        return;
      case "lost":
        for (const { scope } of this.#runners.values()) scope.abort(output.error);
        this.#outcome.reject(output.error);
    }
  }

  async #resolve(index: number, family: 4 | 6): Promise<void> {
    const runner = this.#runners.get(index);
    const host = runner?.endpoint?.target?.host;
    if (runner === undefined || host === undefined) return;
    const { signal } = runner.scope;
    try {
      const addresses = await abortable(this.#setting.network.resolve(host, { family, signal }), signal);
      const found = addresses.map((address) => ({ address, lane: laneOf(address) }));
      if (found.length === 0) throw new Error(`No IPv${family} address for ${host}`);
      this.#race.resolved(index, family, found, this.#now());
    } catch (error) {
      this.#race.resolutionFailed(index, family, asError(error), this.#now());
    }
    this.#pump();
  }

  async #connect(attempt: number, index: number, address: string | undefined): Promise<void> {
    const endpoint = this.#runners.get(index)?.endpoint;
    if (endpoint === undefined) return;
    const { prove } = this.#setting.options;
    const scope = new AbortController();
    this.#attempts.set(attempt, scope);
    const { signal } = scope;
    const discard = (late: Duplex): void => {
      late.destroy();
    };
    let stream: Duplex | undefined;
    try {
      const dialled = endpoint.connect({ signal, ...(address === undefined ? {} : { address }) });
      stream = await abortable(dialled, signal, discard);
      this.#race.connected(attempt, this.#now());
      this.#notify();
      if (endpoint.negotiate !== undefined)
        stream = await abortable(endpoint.negotiate(stream, { signal }), signal, discard);
      if (prove !== undefined) stream = await abortable(prove(stream, { signal }), signal, discard);
      this.#streams.set(attempt, stream);
      if (!this.#race.proven(attempt, this.#now())) stream.destroy();
    } catch (error) {
      stream?.destroy();
      this.#race.failed(attempt, asError(error), this.#now());
    }
    this.#pump();
  }

  #win(attempt: number, index: number): void {
    const runner = this.#runners.get(index);
    const stream = this.#streams.get(attempt);
    if (runner === undefined || stream === undefined) return;
    this.#attempts.delete(attempt);
    for (const [other, { scope }] of this.#runners) if (other !== index) scope.abort(new Error("Another hint won"));
    const statuses = this.#race.statuses();
    this.#outcome.resolve({
      stream,
      hint: runner.hint.text,
      type: runner.hint.type,
      address: statuses[index]?.address,
      host: runner.endpoint?.host,
      halfClose: this.#setting.options.halfClose ?? runner.endpoint?.halfClose ?? true,
      statuses,
    });
  }

  #notify(): void {
    try {
      this.#setting.options.onStatus?.(this.#race.statuses());
    } catch (error) {
      this.#setting.logger.warn({ error }, "The listener for the status of hints threw");
    }
  }

  #now(): number {
    return this.#setting.clock.now();
  }
}

function planOf(endpoint: Endpoint): HintPlan {
  const { target, lane } = endpoint;
  if (target === undefined) return { kind: "connect", lane };
  const family = isIP(target.host);
  if (family === 0) return { kind: "resolve", families: [6, 4] };
  return { kind: "connect", lane: laneOf(target.host), address: target.host, family: family === 6 ? 6 : 4 };
}

function laneOf(address: string): Lane {
  return classifyAddress(address) === "global" ? "public" : "private";
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
