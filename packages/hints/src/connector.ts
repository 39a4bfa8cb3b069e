import type { Duplex } from "node:stream";
import { type Clock, systemClock } from "./clock.ts";
import { ConnectRun } from "./connect-run.ts";
import { createGate, describeTarget, type Gate, type HintPolicy } from "./gate.ts";
import { type HintHandler, type HintLogger, type PeerIdentity, silentLogger } from "./handler.ts";
import { createSocksHandler, type SocksProxyOptions } from "./handlers/socks.ts";
import { createTcpHandler } from "./handlers/tcp.ts";
import { createTlsHandler } from "./handlers/tls.ts";
import { createTorHandler } from "./handlers/tor.ts";
import { createUnixHandler } from "./handlers/unix.ts";
import { createWebSocketHandler } from "./handlers/ws.ts";
import { isHintType, maximumTypeLength } from "./hint.ts";
import { type Dialer, nodeDialer, type Resolver, systemResolver } from "./network.ts";
import type { RaceOptions } from "./race.ts";
import type { RouteOverride, TcpRoute } from "./routes.ts";
import { checkReveal, RevealError } from "./reveal.ts";
import type { HintStatus } from "./status.ts";
import type { TorSettings } from "./tor/start.ts";
import { createTor, type Tor } from "./tor/tor.ts";

/** Local configuration of a {@link Connector}. */
export interface ConnectorOptions {
  readonly policy?: HintPolicy;
  /** How TCP leaves, for `tcp:`, `tls:`, `ws:` and `wss:` alike. Default `tcp`. */
  readonly tcp?: TcpRoute;
  /** Exceptions from `tcp`, for some targets. */
  readonly overrides?: readonly RouteOverride[];
  /** Which `tor` to use. Default: the usual SOCKS ports. Nothing is contacted before the first use. */
  readonly tor?: TorSettings;
  /** The proxy of `socks:` hints. Without it they are ignored. */
  readonly socksProxy?: SocksProxyOptions;
  /** Authorities that TLS trusts, PEM. Default: those of the platform. */
  readonly ca?: readonly string[];
  /** False starts without any handler. Default true: tcp, tls, ws, wss, unix, tor, and socks if there is a proxy. */
  readonly builtInHandlers?: boolean;
  readonly race?: RaceOptions;
  readonly dialer?: Dialer;
  readonly resolver?: Resolver;
  readonly clock?: Clock;
  readonly logger?: HintLogger;
}

/** What to connect to, and how the peer is to be recognised. */
export interface ConnectOptions {
  /** Best first. */
  readonly hints: readonly string[];
  /** Hints that become known while the race runs; the race is not lost before this ends. */
  readonly moreHints?: AsyncIterable<readonly string[]>;
  readonly signal?: AbortSignal;
  /** Called with a snapshot whenever something changed. */
  readonly onStatus?: (statuses: readonly HintStatus[]) => void;
  readonly identity?: PeerIdentity;
  /**
   * The last step before a hint may win: proves that the peer on `stream` is the right one, and gives the stream to use.
   * Must close `stream` when it throws.
   */
  readonly prove?: (stream: Duplex, options: { readonly signal: AbortSignal }) => Promise<Duplex>;
  /** True if what `prove` gives can end one direction over any carrier. */
  readonly halfClose?: boolean;
}

/** A race that was won. */
export interface Connection {
  readonly stream: Duplex;
  /** The hint that won, in canonical form. */
  readonly hint: string;
  readonly type: string;
  /** The address that was reached, unless something else resolved the name. */
  readonly address: string | undefined;
  /** The host of the hint, if it has one. */
  readonly host: string | undefined;
  /** False if ending one direction of the stream ends both: see {@link netcat}. */
  readonly halfClose: boolean;
  readonly statuses: readonly HintStatus[];
}

/**
 * Turns connection hints into streams. Each connector has handlers, policy and Tor of its own; there is no global state.
 */
export class Connector {
  /** The gate that every handler of this connector is behind. */
  readonly gate: Gate;
  /** The way through Tor that `tor:` hints and the route `tor` take. */
  readonly tor: Tor;
  readonly #options: ConnectorOptions;
  readonly #handlers: Map<string, HintHandler> = new Map();

  /** @throws RevealError if the address is to stay hidden and these options would reveal it. */
  constructor(options: ConnectorOptions = {}) {
    this.#options = options;
    const policy = options.policy ?? {};
    const findings = checkReveal({
      revealIpAddress: policy.revealIpAddress ?? true,
      hints: {
        tcp: options.tcp ?? "tcp",
        overrides: options.overrides ?? [],
        socksProxy: options.socksProxy !== undefined,
      },
      torTargets: [
        { key: "hints.tor.socks", target: options.tor?.socks },
        { key: "hints.tor.control", target: options.tor?.control },
      ].flatMap(({ key, target }) => (target === undefined ? [] : [{ key, value: describeTarget(target) }])),
    });
    if (findings.length > 0) throw new RevealError(findings);
    this.gate = createGate({
      policy,
      dialer: options.dialer ?? nodeDialer,
      resolver: options.resolver ?? systemResolver,
    });
    this.tor = createTor({
      settings: options.tor ?? {},
      gate: this.gate,
      ...(options.clock === undefined ? {} : { clock: options.clock }),
      ...(options.logger === undefined ? {} : { logger: options.logger }),
    });
    if (options.builtInHandlers !== false) this.#addBuiltInHandlers();
  }

  /**
   * Registers a handler for the hints of one type.
   *
   * @throws RangeError if the type is malformed or taken.
   */
  addHintHandler(type: string, handler: HintHandler): void {
    if (!isHintType(type)) {
      throw new RangeError(
        `"${type}" cannot be a hint type: [a-z][a-z0-9+._-]*, at most ${maximumTypeLength} characters`,
      );
    }
    if (this.#handlers.has(type)) throw new RangeError(`There is a handler for "${type}" already: replace it`);
    this.#handlers.set(type, handler);
  }

  /** Registers a handler in place of the one that the type has. @throws RangeError if it has none. */
  replaceHintHandler(type: string, handler: HintHandler): void {
    if (!this.#handlers.has(type)) throw new RangeError(`There is no handler for "${type}" to replace`);
    this.#handlers.set(type, handler);
  }

  /** Removes the handler of a type. False if there was none. */
  removeHintHandler(type: string): boolean {
    return this.#handlers.delete(type);
  }

  /** Removes every handler, so that only those added after it are used. */
  removeAllHintHandlers(): void {
    this.#handlers.clear();
  }

  /** The types that have a handler. */
  get hintTypes(): readonly string[] {
    return [...this.#handlers.keys()];
  }

  /**
   * Races hints; resolves with the first stream whose peer has proven its identity, after the others were closed.
   *
   * @throws ConnectError with every cause.
   */
  connect(options: ConnectOptions): Promise<Connection> {
    return new ConnectRun({
      options,
      handlers: this.#handlers,
      network: this.gate.network,
      policy: this.gate.policy,
      race: this.#options.race ?? {},
      clock: this.#options.clock ?? systemClock,
      logger: this.#options.logger ?? silentLogger,
    }).run();
  }

  /** Ends what the connector keeps: its way through Tor. Streams go on. */
  async close(): Promise<void> {
    await this.tor.close();
  }

  #addBuiltInHandlers(): void {
    const { tor, gate } = this;
    const { tcp, overrides, ca, socksProxy } = this.#options;
    const routes = {
      tor,
      ...(tcp === undefined ? {} : { tcp }),
      ...(overrides === undefined ? {} : { overrides }),
      ...(ca === undefined ? {} : { ca }),
    };
    this.addHintHandler("tcp", createTcpHandler(routes));
    this.addHintHandler("tls", createTlsHandler(routes));
    this.addHintHandler("ws", createWebSocketHandler({ ...routes, secure: false }));
    this.addHintHandler("wss", createWebSocketHandler({ ...routes, secure: true }));
    this.addHintHandler("unix", createUnixHandler());
    this.addHintHandler("tor", createTorHandler({ tor }));
    if (socksProxy !== undefined) this.addHintHandler("socks", createSocksHandler({ proxy: socksProxy, gate }));
  }
}
