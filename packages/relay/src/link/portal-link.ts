import { randomBytes } from "node:crypto";
import { type PortalMessage, readPortalMessage, type SerializerVersion } from "@turnpike/link";
import { type Logger, silentLogger } from "../logger.ts";
import { type Clock, createSystemClock } from "../reactor/clock.ts";
import type { BackOffSettings } from "./back-off.ts";
import type { LinkConnection, LinkConnectionEvents, LinkConnector } from "./connector.ts";
import { type FatalReason, LinkMachine, type LinkOutput, type LinkTimes } from "./link-machine.ts";
import { type LinkParameters, parsePortalUrl, type PortalAddress, type TokenPlacement } from "./login-url.ts";
import { webSocketConnector } from "./web-socket-connector.ts";

/** What a {@link PortalLink} takes. */
export interface PortalLinkOptions {
  readonly portal: PortalAddress;
  readonly token: string;
  /** Default: {@link createStampSecret}. */
  readonly stampSecret?: string;
  /** Default `1.0.0`. */
  readonly serializer?: SerializerVersion;
  /** Default `header`. */
  readonly tokenPlacement?: TokenPlacement;
  readonly times?: LinkTimes;
  readonly backOff?: BackOffSettings;
  /** Default: WebSocket over the system's sockets. */
  readonly connector?: LinkConnector;
  readonly clock?: Clock;
  /** At least 0, less than 1. Default: the system's. */
  readonly random?: () => number;
  readonly logger?: Logger;
  /** The link came up, also after it was away. What `first` says: see {@link PortalLink.ready}. */
  readonly onReady?: (state: { readonly first: boolean }) => void;
  readonly onAway?: () => void;
  /** The link ended for good. */
  readonly onFailed?: (reason: FatalReason) => void;
  /** What the portal wants. */
  readonly onMessage?: (message: PortalMessage) => void;
}

/** A link that can't come to be. */
export class PortalLinkError extends Error {
  override readonly name = "PortalLinkError";
  readonly code: FatalReason | "stopped";

  constructor(code: FatalReason | "stopped") {
    super(`The portal link ended: ${FAILURES[code]}`);
    this.code = code;
  }
}

const FAILURES: Readonly<Record<FatalReason | "stopped", string>> = {
  tokenRefused: "the portal refuses the token; make a new one there",
  tokenExpired: "the token has expired; make a new one at the portal",
  gaveUp: "the portal could not be reached for 24 hours",
  stopped: "the relay is stopping",
};

/** 32 random bytes in hexadecimal. Kept in memory only: with the process end the credentials that it stamped. */
export function createStampSecret(): string {
  return randomBytes(32).toString("hex");
}

/** More than this waits on the connection: what can be left out is. */
const MAX_WAITING_BYTES = 4 * 1024 * 1024;

/**
 * The link of a relay to its portal. It starts disconnected; once connected it stays so, through every failure but a
 * refused or expired token.
 *
 * @example
 * const link = new PortalLink({ portal: { url: "https://portal.example" }, token });
 * link.connect({ ipv4: "192.0.2.1", port: 3478 });
 * await link.ready; // the portal said init: serve
 */
export class PortalLink {
  /** Resolves with the first `init`; rejects with a {@link PortalLinkError} if the link ends before. */
  readonly ready: Promise<void>;
  /** For the scheme `portal`. */
  readonly stampSecret: string;
  readonly #options: PortalLinkOptions;
  readonly #machine: LinkMachine;
  readonly #clock: Clock;
  readonly #connector: LinkConnector;
  readonly #logger: Logger;
  readonly #settle: { readonly resolve: () => void; readonly reject: (error: Error) => void };
  #current: { readonly connection: number; readonly open: LinkConnection } | undefined;
  #cancelWake: (() => void) | undefined;
  #isDraining = false;

  /** @throws TypeError or RangeError for a wrong configuration */
  constructor(options: PortalLinkOptions) {
    const random = options.random ?? (() => randomBytes(4).readUInt32BE() / 2 ** 32);
    this.stampSecret = options.stampSecret ?? createStampSecret();
    this.#options = options;
    this.#machine = new LinkMachine({
      portal: parsePortalUrl(options.portal),
      token: options.token,
      stampSecret: this.stampSecret,
      random,
      ...(options.serializer && { serializer: options.serializer }),
      ...(options.tokenPlacement && { tokenPlacement: options.tokenPlacement }),
      ...(options.times && { times: options.times }),
      ...(options.backOff && { backOff: options.backOff }),
    });
    this.#clock = options.clock ?? createSystemClock();
    this.#connector = options.connector ?? webSocketConnector();
    this.#logger = options.logger ?? silentLogger;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.ready = promise;
    this.#settle = { resolve, reject };
    // Whoever doesn't wait for it is told by `onFailed`.
    promise.catch(() => {});
  }

  /** Whether the portal is there, after `init`. */
  get isUp(): boolean {
    return this.#machine.state === "ready";
  }

  connect(parameters: LinkParameters): void {
    this.#machine.connect(parameters, this.#clock.now());
    this.#drain();
  }

  /** Sends an event; false if the link is away, or so slow that the event would only wait. */
  send(event: string, payload: Readonly<Record<string, unknown>>): boolean {
    if ((this.#current?.open.waitingBytes ?? 0) > MAX_WAITING_BYTES) return false;
    const isSent = this.#machine.send(event, payload);
    this.#drain();
    return isSent;
  }

  /** Leaves for good. */
  stop(): void {
    this.#machine.stop();
    this.#drain();
    this.#settle.reject(new PortalLinkError("stopped"));
  }

  #drain(): void {
    // What is carried out may call back at once.
    if (this.#isDraining) return;
    this.#isDraining = true;
    for (let output = this.#machine.pollOutput(); output !== undefined; output = this.#machine.pollOutput()) {
      this.#carryOut(output);
    }
    this.#isDraining = false;
    this.#setTimer();
  }

  #carryOut(output: LinkOutput): void {
    switch (output.kind) {
      case "open":
        this.#open(output);
        return;
      case "send":
        if (this.#current?.connection === output.connection) this.#current.open.send(output.text);
        return;
      case "close":
        if (this.#current?.connection === output.connection) {
          this.#current.open.close();
          this.#current = undefined;
        }
        return;
      case "ready":
        this.#logger.info({ first: output.first }, "The portal link is up");
        this.#settle.resolve();
        this.#tell(() => this.#options.onReady?.({ first: output.first }));
        return;
      case "away":
        this.#logger.warn(
          { reason: output.reason, retryInMs: Math.round(output.retryInMs) },
          "The portal link is away: what lives goes on",
        );
        this.#tell(() => this.#options.onAway?.());
        return;
      case "failed": {
        const error = new PortalLinkError(output.reason);
        this.#logger.error({ reason: output.reason }, error.message);
        this.#settle.reject(error);
        this.#tell(() => this.#options.onFailed?.(output.reason));
        return;
      }
      case "event":
        this.#receive(output);
        return;
      case "rubbish":
        this.#logger.warn({ fault: output.message }, "The portal sent what can't be read");
    }
  }

  #open({ connection, request }: Extract<LinkOutput, { kind: "open" }>): void {
    const input = (handle: () => void): void => {
      handle();
      this.#drain();
    };
    const machine = this.#machine;
    const now = (): ReturnType<Clock["now"]> => this.#clock.now();
    const events: LinkConnectionEvents = {
      opened: () => input(() => machine.handleOpened(connection, now())),
      refused: (answer) => input(() => machine.handleRefused(connection, answer, now())),
      frame: (text) => input(() => machine.handleFrame(connection, text, now())),
      rubbish: (message) => input(() => machine.handleRubbish(connection, message, now())),
      closed: (reason) => input(() => machine.handleClosed(connection, reason, now())),
    };
    try {
      this.#current = { connection, open: this.#connector.open(request, events) };
    } catch (error) {
      events.closed(`the connector failed: ${error instanceof Error ? error.name : "unknown error"}`);
    }
  }

  #receive(frame: Extract<LinkOutput, { kind: "event" }>): void {
    const read = readPortalMessage(frame);
    if (read.kind === "message") this.#tell(() => this.#options.onMessage?.(read.message));
    else if (read.kind === "error") this.#logger.warn({ fault: read.message }, "The portal sent what can't be read");
  }

  /** What a listener throws must not end the link. */
  #tell(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#logger.error({ err: error }, "A listener to the portal link threw");
    }
  }

  #setTimer(): void {
    this.#cancelWake?.();
    this.#cancelWake = undefined;
    const atMs = this.#machine.pollTimeout();
    if (atMs === undefined) return;
    this.#cancelWake = this.#clock.schedule(atMs - this.#clock.now().monotonicMs, () => {
      this.#machine.handleTimeout(this.#clock.now());
      this.#drain();
    });
  }
}
