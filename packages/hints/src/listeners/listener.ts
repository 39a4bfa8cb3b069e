import type { Duplex } from "node:stream";
import { abortable, type Clock, systemClock } from "../clock.ts";
import type { Gate } from "../gate.ts";
import { type HintLogger, silentLogger } from "../handler.ts";
import { convertLegacyHint, isHintType, maximumHintCount, parseHint } from "../hint.ts";
import type { Identity } from "../identity.ts";
import { formatReference } from "../reference.ts";
import { checkReveal, RevealError } from "../reveal.ts";
import type { Tor } from "../tor/tor.ts";
import type { LocalAddress } from "./advertise.ts";
import type { Incoming, ListenHandler, Listening } from "./handler.ts";
import { createOnionListener } from "./onion.ts";
import type { PortStore } from "./port.ts";
import { InvalidSpecError, type ListenSpec, parseListenSpec } from "./spec.ts";
import { createTcpListener, createTlsListener, createWebSocketListener } from "./tcp.ts";
import { createUnixListener } from "./unix.ts";

/** Local configuration of a {@link Listener}. */
export interface ListenerOptions {
  /** The gate of a connector, or of {@link createGate}. */
  readonly gate: Gate;
  /** For `onion:`; with `directory`. */
  readonly tor?: Tor;
  /** Where the keys of onion services are kept. */
  readonly directory?: string;
  /** Proves itself to every stream that comes in, and is what {@link Readiness.reference} names. */
  readonly identity?: Identity;
  /** Key and certificate of `tls:` and `wss:`, PEM. Default: the identity's. */
  readonly tls?: { readonly key: string; readonly cert: string };
  readonly ports?: PortStore;
  readonly addresses?: () => readonly LocalAddress[];
  /** Streams that are open at once, of all listeners. Default 1,024; more are closed at once. */
  readonly maximumStreams?: number;
  /** For the identity's handshake. Default 10,000. */
  readonly handshakeTimeoutMilliseconds?: number;
  readonly clock?: Clock;
  readonly logger?: HintLogger;
}

/** What to listen on, and what to tell others. */
export interface ListenOptions {
  readonly specs: readonly string[];
  /** `AUTO` (the default): what the listeners find out. Or the hints to advertise, whatever they find. */
  readonly advertise?: "AUTO" | readonly string[];
  /** The realm of the reference. Default empty. */
  readonly realm?: string;
  readonly onStream: (stream: Duplex, incoming: Incoming) => void;
  /** Called with what a listener that is not up yet says about itself. */
  readonly onStatus?: (spec: string, detail: string) => void;
  /** Lets a peer try a hint: true if it could be reached. Without it every hint is marked unverified. */
  readonly verify?: (hint: string, options: { readonly signal: AbortSignal }) => Promise<boolean>;
  readonly signal?: AbortSignal;
}

/** A hint that others may be told. */
export interface AdvertisedHint {
  readonly hint: string;
  /** `verified`: a peer reached it; `unverified`: nobody tried; `configured`: taken from configuration as it is. */
  readonly reachability: "verified" | "unverified" | "configured";
}

/** Everything is up. */
export interface Readiness {
  readonly listeners: readonly { readonly spec: string; readonly bound: string }[];
  readonly advertised: readonly AdvertisedHint[];
  /** Hints that were found, and that a peer could not reach. */
  readonly unreachable: readonly string[];
  /** The reference to give to others, if there is an identity. */
  readonly reference: string | undefined;
}

/** Some listeners could not be brought up; all were closed again. */
export class ListenError extends AggregateError {
  override readonly name = "ListenError";
  readonly failures: readonly { readonly spec: string; readonly cause: Error }[];

  constructor(failures: readonly { readonly spec: string; readonly cause: Error }[]) {
    super(
      failures.map(({ cause }) => cause),
      `Cannot listen:${failures.map(({ spec, cause }) => `\n  ${spec}: ${cause.message}`).join("")}`,
    );
    this.failures = failures;
  }
}

/** Listeners that are coming up, or are up. */
export interface ListenerGroup {
  /** Settles once: when *all* listeners are up and every advertisement is known, or with what failed. */
  readonly ready: Promise<Readiness>;
  /** Takes no more streams. Streams that were handed over go on. */
  close(): Promise<void>;
}

/** Turns listener specs into streams that come in, and into hints that lead to them. */
export class Listener {
  readonly #options: ListenerOptions;
  readonly #handlers: Map<string, ListenHandler> = new Map();

  constructor(options: ListenerOptions) {
    this.#options = options;
    const { addresses, tls, identity, tor, directory } = options;
    const found = addresses === undefined ? {} : { addresses };
    const keys = tls ?? identity?.tlsOptions();
    this.addListenHandler("tcp", createTcpListener(found));
    this.addListenHandler("ws", createWebSocketListener(found));
    this.addListenHandler("unix", createUnixListener());
    if (keys !== undefined) {
      this.addListenHandler("tls", createTlsListener({ ...keys, ...found }));
      this.addListenHandler("wss", createWebSocketListener({ ...keys, ...found }));
    }
    if (tor !== undefined && directory !== undefined) {
      this.addListenHandler("onion", createOnionListener({ tor, directory }));
    }
  }

  /** Registers a plug-in for the specs of one type. @throws RangeError if the type is malformed or taken. */
  addListenHandler(type: string, handler: ListenHandler): void {
    if (!isHintType(type)) throw new RangeError(`"${type}" cannot be the type of a listener`);
    if (this.#handlers.has(type)) throw new RangeError(`There is a listener for "${type}" already: remove it first`);
    this.#handlers.set(type, handler);
  }

  /** Removes the plug-in of a type. False if there was none. */
  removeListenHandler(type: string): boolean {
    return this.#handlers.delete(type);
  }

  /** Removes every plug-in. */
  removeAllListenHandlers(): void {
    this.#handlers.clear();
  }

  /**
   * Brings listeners up, all of a list or none.
   *
   * @throws RevealError at once, if the address is to stay hidden and this would reveal it.
   */
  listen(options: ListenOptions): ListenerGroup {
    const { specs, advertise } = options;
    const findings = checkReveal({
      revealIpAddress: this.#options.gate.policy.revealIpAddress ?? true,
      hints: { tcp: "disabled", listen: specs, advertise: advertise ?? "AUTO" },
    });
    if (findings.length > 0) throw new RevealError(findings);
    if (advertise !== undefined && advertise !== "AUTO") checkAdvertised(advertise);
    return new Group(this.#options, options, this.#handlers);
  }
}

class Group implements ListenerGroup {
  readonly ready: Promise<Readiness>;
  readonly #options: ListenerOptions;
  readonly #listen: ListenOptions;
  readonly #clock: Clock;
  readonly #logger: HintLogger;
  readonly #scope: AbortController = new AbortController();
  readonly #signal: AbortSignal;
  readonly #maximumStreams: number;
  readonly #up: Listening[] = [];
  #streams = 0;

  constructor(options: ListenerOptions, listen: ListenOptions, handlers: ReadonlyMap<string, ListenHandler>) {
    this.#options = options;
    this.#listen = listen;
    this.#maximumStreams = options.maximumStreams ?? 1_024;
    this.#clock = options.clock ?? systemClock;
    this.#logger = options.logger ?? silentLogger;
    const outer = listen.signal;
    this.#signal = outer === undefined ? this.#scope.signal : AbortSignal.any([this.#scope.signal, outer]);
    outer?.addEventListener("abort", () => void this.close(), { once: true, signal: this.#scope.signal });
    this.ready = this.#start(handlers);
    // Whoever awaits it later still sees the failure; nobody awaiting it must not end the process.
    this.ready.catch(() => undefined);
  }

  async close(): Promise<void> {
    this.#scope.abort(new Error("The listeners were closed"));
    await Promise.all(this.#up.splice(0).map((listening) => listening.close()));
  }

  async #start(handlers: ReadonlyMap<string, ListenHandler>): Promise<Readiness> {
    const { specs } = this.#listen;
    const results = await Promise.allSettled(specs.map((text) => this.#bringUp(text, handlers)));
    const failures = results.flatMap((result, index) => {
      const spec = specs[index] ?? "";
      return result.status === "rejected" ? [{ spec, cause: asError(result.reason) }] : [];
    });
    if (failures.length > 0) {
      await this.close();
      throw new ListenError(failures);
    }
    const up = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
    const { advertised, unreachable } = await this.#advertise(up.flatMap(({ hints }) => hints));
    if (this.#signal.aborted) throw new ListenError([{ spec: specs.join(" "), cause: asError(this.#signal.reason) }]);
    const { identity } = this.#options;
    const hints = advertised.map(({ hint }) => hint);
    return {
      listeners: up.map(({ bound }, index) => ({ spec: specs[index] ?? "", bound })),
      advertised,
      unreachable,
      reference:
        identity === undefined
          ? undefined
          : formatReference({ keyDigest: identity.keyDigest, hints, realm: this.#listen.realm ?? "" }),
    };
  }

  async #bringUp(text: string, handlers: ReadonlyMap<string, ListenHandler>): Promise<Listening> {
    const { gate, ports } = this.#options;
    const spec = parseListenSpec(text);
    const handler = handlers.get(spec.type);
    if (handler === undefined) throw new InvalidSpecError(text, unknownType(spec, handlers));
    const keptPort = await ports?.get(text);
    this.#signal.throwIfAborted();
    const coming = handler.listen({
      spec,
      signal: this.#signal,
      status: (detail) => this.#listen.onStatus?.(text, detail),
      gate,
      logger: this.#logger,
      keptPort,
      maximumStreams: this.#maximumStreams,
      accept: (stream, { remoteAddress, halfClose }) => {
        const proven = this.#options.identity !== undefined;
        void this.#accept(stream, { spec: text, remoteAddress, halfClose: proven || (halfClose ?? true) });
      },
    });
    const listening = await abortable(coming, this.#signal, (late) => void late.close());
    this.#up.push(listening);
    if (listening.foundPort !== undefined && listening.foundPort !== keptPort)
      await ports?.set(text, listening.foundPort);
    return listening;
  }

  async #advertise(found: readonly string[]): Promise<Pick<Readiness, "advertised" | "unreachable">> {
    const { advertise, verify } = this.#listen;
    if (advertise !== undefined && advertise !== "AUTO") {
      return { advertised: advertise.map((hint) => ({ hint, reachability: "configured" })), unreachable: [] };
    }
    const some = found.slice(0, maximumHintCount);
    if (verify === undefined) {
      return { advertised: some.map((hint) => ({ hint, reachability: "unverified" })), unreachable: [] };
    }
    const answers = await Promise.all(
      some.map(async (hint) => {
        try {
          return { hint, reached: await verify(hint, { signal: this.#signal }) };
        } catch (error) {
          this.#logger.warn({ error, hint }, "No peer could be asked whether a hint is reachable");
          return { hint, reached: undefined };
        }
      }),
    );
    return {
      advertised: answers
        .filter(({ reached }) => reached !== false)
        .map(({ hint, reached }) => ({ hint, reachability: reached === true ? "verified" : "unverified" })),
      unreachable: answers.filter(({ reached }) => reached === false).map(({ hint }) => hint),
    };
  }

  async #accept(stream: Duplex, incoming: Incoming): Promise<void> {
    const { identity, handshakeTimeoutMilliseconds } = this.#options;
    if (this.#scope.signal.aborted || this.#streams >= this.#maximumStreams) {
      stream.destroy();
      return;
    }
    this.#streams += 1;
    stream.once("close", () => {
      this.#streams -= 1;
    });
    try {
      this.#listen.onStream(
        identity === undefined ? stream : await this.#prove(identity, stream, handshakeTimeoutMilliseconds ?? 10_000),
        incoming,
      );
    } catch (error) {
      stream.destroy();
      this.#logger.debug({ error, spec: incoming.spec }, "A stream that came in was not taken");
    }
  }

  async #prove(identity: Identity, stream: Duplex, milliseconds: number): Promise<Duplex> {
    const limit = new AbortController();
    const cancel = this.#clock.after(milliseconds, () => limit.abort(new Error("The handshake took too long")));
    try {
      return await identity.accept(stream, { signal: limit.signal });
    } finally {
      cancel();
    }
  }
}

function checkAdvertised(hints: readonly string[]): void {
  if (hints.length > maximumHintCount) throw new RangeError(`At most ${maximumHintCount} hints can be advertised`);
  for (const hint of hints) {
    if (convertLegacyHint(hint) === undefined) parseHint(hint, { hasHandler: () => true });
  }
}

function unknownType(spec: ListenSpec, handlers: ReadonlyMap<string, ListenHandler>): string {
  if (spec.type === "tls" || spec.type === "wss") return `${spec.type}: needs a certificate or an identity`;
  if (spec.type === "onion") return "onion: needs Tor with a control port, and a data directory";
  return `there is no listener for its type; known are ${[...handlers.keys()].join(", ")}`;
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}
