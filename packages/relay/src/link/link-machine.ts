import { decodeFrame, encodeFrame, type Frame, type SerializerVersion } from "@turnpike/link";
import type { Now } from "@turnpike/turn";
import { BackOff, type BackOffSettings, retryAfterMs } from "./back-off.ts";
import { type LinkParameters, type LinkRequest, linkRequest, type TokenPlacement } from "./login-url.ts";

/** Times of a link, in milliseconds. */
export interface LinkTimes {
  /** Connecting, over all addresses. Default 15,000. */
  readonly connectMs?: number;
  /** From the join to its reply. Default 5,000. */
  readonly joinMs?: number;
  /** From the reply to `init`. Default 30,000. */
  readonly initMs?: number;
  /** Between heartbeats. Default 10,000. */
  readonly heartbeatMs?: number;
}

/** What a {@link LinkMachine} is made with. */
export interface LinkMachineOptions {
  /** From `parsePortalUrl`. */
  readonly portal: URL;
  readonly token: string;
  /** 64 hexadecimal digits, the same for the life of the process, so that credentials outlive a reconnect. */
  readonly stampSecret: string;
  /** At least 0, less than 1. */
  readonly random: () => number;
  /** Default `1.0.0`. */
  readonly serializer?: SerializerVersion;
  /** Default `header`. */
  readonly tokenPlacement?: TokenPlacement;
  readonly times?: LinkTimes;
  readonly backOff?: BackOffSettings;
}

/** Why a link ended for good. */
export type FatalReason = "tokenRefused" | "tokenExpired" | "gaveUp";

/** What the machine wants of the world. Drain with `pollOutput()` after every input until it is undefined. */
export type LinkOutput =
  /** Open a connection; tell what becomes of it under its number. */
  | { readonly kind: "open"; readonly connection: number; readonly request: LinkRequest }
  | { readonly kind: "send"; readonly connection: number; readonly text: string }
  /** Nothing more is wanted of this connection, opened or not. */
  | { readonly kind: "close"; readonly connection: number }
  /** The portal said `init`. `first`: for the first time, so the relay may begin to serve. */
  | { readonly kind: "ready"; readonly first: boolean }
  /** The link is away. It comes back by itself, after `retryInMs` at the earliest. */
  | { readonly kind: "away"; readonly reason: string; readonly retryInMs: number }
  | { readonly kind: "failed"; readonly reason: FatalReason }
  /** An event of the portal on the relay's topic. */
  | { readonly kind: "event"; readonly event: string; readonly payload: Readonly<Record<string, unknown>> }
  /** Something came that can't be read, and was left out. */
  | { readonly kind: "rubbish"; readonly message: string };

type State =
  | { readonly kind: "disconnected" | "failed" | "stopped" }
  | { readonly kind: "connecting"; readonly untilMs: number }
  | { readonly kind: "joining"; readonly untilMs: number; readonly joinRef: string }
  | { readonly kind: "joined"; readonly untilMs: number; readonly joinRef: string }
  | { readonly kind: "ready"; readonly joinRef: string; readonly sinceMs: number }
  | { readonly kind: "waiting"; readonly untilMs: number };

const TOPIC = "relay";
const MAX_UNANSWERED_HEARTBEATS = 3;
const MAX_RUBBISH = 16;
/** A link that was ready for this long was a success: the next pause is a short one. */
const STABLE_MS = 10_000;
const MAX_REASON_LENGTH = 80;

/**
 * A relay's end of the link to its portal: the Phoenix channel protocol as a pure state machine. It starts disconnected.
 * Every input carries `now` and is followed by a complete drain of {@link pollOutput}; then the caller sleeps until the
 * next input or until {@link pollTimeout}.
 */
export class LinkMachine {
  readonly #options: LinkMachineOptions;
  readonly #times: Required<LinkTimes>;
  readonly #serializer: SerializerVersion;
  readonly #backOff: BackOff;
  readonly #outputs: LinkOutput[] = [];
  #state: State = { kind: "disconnected" };
  #parameters: LinkParameters | undefined;
  #connection = 0;
  #nextRef = 0;
  #heartbeatAtMs = 0;
  #unanswered = new Set<string>();
  #rubbish = 0;
  #wasReady = false;

  constructor(options: LinkMachineOptions) {
    if (!/^[0-9a-f]{64}$/.test(options.stampSecret)) {
      throw new TypeError("Cannot link to a portal: the stamp secret must be 64 hexadecimal digits");
    }
    if (options.token === "" || /[^\u0021-\u007E]/.test(options.token)) {
      throw new TypeError("Cannot link to a portal: the token is empty or has characters that no token has");
    }
    const { connectMs = 15_000, joinMs = 5_000, initMs = 30_000, heartbeatMs = 10_000 } = options.times ?? {};
    this.#options = options;
    this.#times = { connectMs, joinMs, initMs, heartbeatMs };
    for (const [name, value] of Object.entries(this.#times)) {
      if (!(value > 0)) throw new RangeError(`Cannot link to a portal: ${name} must be more than 0`);
    }
    this.#serializer = options.serializer ?? "1.0.0";
    this.#backOff = new BackOff(options.backOff ?? {}, options.random);
  }

  /** Where it stands. */
  get state(): State["kind"] {
    return this.#state.kind;
  }

  /** Connects, and keeps connecting until {@link stop}. */
  connect(parameters: LinkParameters, now: Now): void {
    if (this.#state.kind !== "disconnected") return;
    this.#parameters = parameters;
    this.#open(now);
  }

  /** The connection stands. */
  handleOpened(connection: number, now: Now): void {
    if (connection !== this.#connection || this.#state.kind !== "connecting") return;
    const joinRef = this.#ref();
    this.#unanswered = new Set();
    this.#rubbish = 0;
    this.#heartbeatAtMs = now.monotonicMs + this.#times.heartbeatMs;
    this.#state = { kind: "joining", joinRef, untilMs: now.monotonicMs + this.#times.joinMs };
    this.#send({ joinRef, ref: joinRef, event: "phx_join", payload: { stamp_secret: this.#options.stampSecret } });
  }

  /** The portal answered the request to connect with an HTTP status other than 101. */
  handleRefused(connection: number, { status, retryAfter }: { status: number; retryAfter?: string }, now: Now): void {
    if (connection !== this.#connection || this.#state.kind !== "connecting") return;
    if (status === 401) {
      this.#fail("tokenRefused");
      return;
    }
    const honoured = status === 429 || status === 503 ? retryAfterMs(retryAfter, now.unixMs) : undefined;
    this.#away(`the portal answered with status ${status}`, now, honoured);
  }

  /** The connection ended, or could not be made. */
  handleClosed(connection: number, reason: string, now: Now): void {
    if (connection !== this.#connection || !this.#isConnected()) return;
    this.#away(reason, now);
  }

  /** A text frame came. */
  handleFrame(connection: number, text: string, now: Now): void {
    if (connection !== this.#connection || !this.#isConnected()) return;
    const decoded = decodeFrame(this.#serializer, text);
    if (!decoded.ok) {
      this.handleRubbish(connection, decoded.error.message, now);
      return;
    }
    const { frame } = decoded;
    if (frame.event === "phx_reply") this.#handleReply(frame, now);
    else if (frame.event === "disconnect") this.#handleDisconnect(frame, now);
    else if (frame.topic === TOPIC) this.#handleEvent(frame, now);
  }

  /** Something came that no frame can be. */
  handleRubbish(connection: number, message: string, now: Now): void {
    if (connection !== this.#connection || !this.#isConnected()) return;
    this.#outputs.push({ kind: "rubbish", message });
    this.#rubbish++;
    if (this.#rubbish >= MAX_RUBBISH) this.#away("the portal sends what can't be read", now);
  }

  /** Time went on. Does what is due, once, however late it is. */
  handleTimeout(now: Now): void {
    const state = this.#state;
    switch (state.kind) {
      case "waiting":
        if (now.monotonicMs >= state.untilMs) this.#open(now);
        return;
      case "connecting":
        if (now.monotonicMs >= state.untilMs) this.#away("connecting took too long", now);
        return;
      case "joining":
        if (now.monotonicMs >= state.untilMs) this.#away("the portal did not answer the join", now);
        return;
      case "joined":
        if (now.monotonicMs >= state.untilMs) this.#away("the portal did not say init", now);
        else this.#heartbeat(now);
        return;
      case "ready":
        this.#heartbeat(now);
        return;
      case "disconnected":
      case "failed":
      case "stopped":
    }
  }

  /** Sends an event to the portal; false if the link is not up. */
  send(event: string, payload: Readonly<Record<string, unknown>>): boolean {
    const state = this.#state;
    if (state.kind !== "ready") return false;
    this.#send({ joinRef: state.joinRef, ref: this.#ref(), event, payload });
    return true;
  }

  /** Leaves for good. */
  stop(): void {
    if (this.#isConnected()) this.#outputs.push({ kind: "close", connection: this.#connection });
    this.#state = { kind: "stopped" };
  }

  pollOutput(): LinkOutput | undefined {
    return this.#outputs.shift();
  }

  /** When `handleTimeout` wants to be called next, on the monotonic clock in milliseconds. */
  pollTimeout(): number | undefined {
    const state = this.#state;
    switch (state.kind) {
      case "waiting":
      case "connecting":
      case "joining":
        return state.untilMs;
      case "joined":
        return Math.min(state.untilMs, this.#heartbeatAtMs);
      case "ready":
        return this.#heartbeatAtMs;
      case "disconnected":
      case "failed":
      case "stopped":
        return undefined;
    }
  }

  #open(now: Now): void {
    const { portal, token, tokenPlacement = "header" } = this.#options;
    this.#connection++;
    this.#state = { kind: "connecting", untilMs: now.monotonicMs + this.#times.connectMs };
    const request = linkRequest({
      portal,
      token,
      placement: tokenPlacement,
      parameters: this.#parameters!,
      ...(this.#serializer === "1.0.0" ? {} : { vsn: this.#serializer }),
    });
    this.#outputs.push({ kind: "open", connection: this.#connection, request });
  }

  #handleReply(frame: Frame, now: Now): void {
    const state = this.#state;
    if (frame.ref === undefined) return;
    if (state.kind === "joining" && frame.topic === TOPIC && frame.ref === state.joinRef) {
      if (frame.payload["status"] !== "ok") {
        this.#away("the portal refused the join", now);
        return;
      }
      this.#state = { kind: "joined", joinRef: state.joinRef, untilMs: now.monotonicMs + this.#times.initMs };
    } else if (this.#unanswered.has(frame.ref)) {
      // An answer to a late heartbeat shows as much as one to the first.
      this.#unanswered.clear();
    }
  }

  #handleDisconnect(frame: Frame, now: Now): void {
    const { reason } = frame.payload;
    if (reason === "token_expired") {
      this.#fail("tokenExpired");
      return;
    }
    const word =
      typeof reason === "string" && /^[\w .-]+$/.test(reason) ? `: ${reason.slice(0, MAX_REASON_LENGTH)}` : "";
    this.#away(`the portal disconnected${word}`, now);
  }

  #handleEvent(frame: Frame, now: Now): void {
    const state = this.#state;
    if (state.kind !== "joined" && state.kind !== "ready") return;
    // A message of an earlier join of the same topic (serializer 2.0.0).
    if (frame.joinRef !== undefined && frame.joinRef !== state.joinRef) return;
    switch (frame.event) {
      case "phx_error":
      case "phx_close":
        this.#away("the portal closed the channel", now);
        return;
      case "init":
        if (state.kind === "joined") {
          const first = !this.#wasReady;
          this.#wasReady = true;
          this.#state = { kind: "ready", joinRef: state.joinRef, sinceMs: now.monotonicMs };
          this.#outputs.push({ kind: "ready", first });
        }
        return;
      default:
        this.#outputs.push({ kind: "event", event: frame.event, payload: frame.payload });
    }
  }

  #heartbeat(now: Now): void {
    if (now.monotonicMs < this.#heartbeatAtMs) return;
    if (this.#unanswered.size > MAX_UNANSWERED_HEARTBEATS) {
      this.#away("the portal answers no heartbeat", now);
      return;
    }
    const ref = this.#ref();
    this.#unanswered.add(ref);
    // From now on, not from when it was due: a loop that was held up must not make up for it in a burst.
    this.#heartbeatAtMs = now.monotonicMs + this.#times.heartbeatMs;
    this.#send({ ref, topic: "phoenix", event: "heartbeat", payload: {} });
  }

  #away(reason: string, now: Now, atLeastMs?: number): void {
    const state = this.#state;
    if (state.kind === "ready" && now.monotonicMs - state.sinceMs >= STABLE_MS) this.#backOff.reset();
    this.#outputs.push({ kind: "close", connection: this.#connection });
    const retryInMs = this.#backOff.next({
      nowMs: now.monotonicMs,
      ...(atLeastMs === undefined ? {} : { atLeastMs }),
    });
    if (retryInMs === undefined) {
      this.#state = { kind: "failed" };
      this.#outputs.push({ kind: "failed", reason: "gaveUp" });
      return;
    }
    this.#state = { kind: "waiting", untilMs: now.monotonicMs + retryInMs };
    this.#outputs.push({ kind: "away", reason, retryInMs });
  }

  #fail(reason: FatalReason): void {
    this.#outputs.push({ kind: "close", connection: this.#connection });
    this.#state = { kind: "failed" };
    this.#outputs.push({ kind: "failed", reason });
  }

  #isConnected(): boolean {
    return ["connecting", "joining", "joined", "ready"].includes(this.#state.kind);
  }

  #ref(): string {
    return String(this.#nextRef++);
  }

  #send(frame: Omit<Frame, "topic"> & { readonly topic?: string }): void {
    const { joinRef, ...rest } = frame;
    // Relays of serializer 1.0.0 send no join reference.
    const withJoinRef = this.#serializer === "2.0.0" && joinRef !== undefined ? { joinRef } : {};
    const text = encodeFrame(this.#serializer, { topic: TOPIC, ...rest, ...withJoinRef });
    this.#outputs.push({ kind: "send", connection: this.#connection, text });
  }
}
