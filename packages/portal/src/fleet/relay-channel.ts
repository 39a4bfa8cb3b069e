import type { OperationContext } from "@turnpike/authn";
import {
  decodeFrame,
  encodeFrame,
  type Frame,
  joinPayload,
  type PortalMessage,
  readRelayMessage,
  type SerializerVersion,
} from "@turnpike/link";
import type { JoiningRelay, RelayRegistry } from "./relay-registry.ts";

/** What carries a channel: a WebSocket fits. */
export interface ChannelSocket {
  send(text: string): void;
  close(code: number): void;
  /** Bytes that wait to be sent. */
  readonly bufferedAmount: number;
}

/** What {@link RelayChannel} is made with. */
export interface RelayChannelOptions {
  readonly ctx: OperationContext;
  readonly socket: ChannelSocket;
  readonly registry: RelayRegistry;
  readonly serializer: SerializerVersion;
  readonly relay: { readonly id: string; readonly name: string; readonly urls: readonly string[] };
}

const TOPIC = "relay";
const MAX_RUBBISH = 16;
const MAX_WAITING_BYTES = 16 * 1024 * 1024;
const MAX_WAITING_FRAMES = 1_000;
const POLICY_VIOLATION = 1008;
const GOING_AWAY = 1001;

/** The portal's end of a relay's link: the Phoenix channel protocol. Frames are dealt with in their order. */
export class RelayChannel {
  readonly #options: RelayChannelOptions;
  #joined: { readonly relay: JoiningRelay; readonly joinRef: string | undefined } | undefined;
  #work: Promise<void> = Promise.resolve();
  #waiting = 0;
  #rubbish = 0;
  #isOver = false;

  constructor(options: RelayChannelOptions) {
    this.#options = options;
  }

  /** Takes a text frame. */
  handleFrame(text: string): void {
    const decoded = decodeFrame(this.#options.serializer, text);
    if (!decoded.ok) {
      this.handleRubbish(decoded.error.message);
      return;
    }
    if (this.#waiting >= MAX_WAITING_FRAMES) {
      this.#end(POLICY_VIOLATION, "more frames than can be dealt with");
      return;
    }
    this.#waiting++;
    this.#work = this.#work
      .then(() => this.#handle(decoded.frame))
      .catch((error: unknown) => {
        const fault = error instanceof Error ? error.message : "unknown error";
        this.#options.ctx.logger.error({ relay: this.#options.relay.id, fault }, "A relay's message failed");
        this.#end(1011, "an error of the portal");
      })
      .finally(() => this.#waiting--);
  }

  /** Something came that can't be read. */
  handleRubbish(fault: string): void {
    this.#options.ctx.logger.warn({ relay: this.#options.relay.id, fault }, "A relay sent what can't be read");
    this.#rubbish++;
    if (this.#rubbish >= MAX_RUBBISH) this.#end(POLICY_VIOLATION, "rubbish");
  }

  /** The connection ended. */
  async handleClosed(): Promise<void> {
    this.#isOver = true;
    await this.#work;
    if (this.#joined !== undefined) await this.#options.registry.leave(this.#joined.relay);
  }

  /** Tells the relay that its token is good no more, which is final, and lets it go. */
  expire(): void {
    this.#send({ topic: TOPIC, event: "disconnect", payload: { reason: "token_expired" } });
    this.#end(POLICY_VIOLATION, "the token is good no more");
  }

  /** The portal goes away; the relay will look for another. */
  goAway(): void {
    this.#end(GOING_AWAY, "the portal stops");
  }

  async #handle(frame: Frame): Promise<void> {
    if (this.#isOver) return;
    if (frame.topic === "phoenix" && frame.event === "heartbeat") {
      this.#reply(frame, "ok");
      return;
    }
    if (frame.topic !== TOPIC) {
      this.#reply(frame, "error", { reason: "unmatched topic" });
      return;
    }
    if (frame.event === "phx_join") {
      await this.#join(frame);
      return;
    }
    if (frame.event === "phx_leave") {
      this.#reply(frame, "ok");
      this.#end(1000, "the relay left");
      return;
    }
    if (this.#joined === undefined) {
      this.#reply(frame, "error", { reason: "not joined" });
      return;
    }
    const read = readRelayMessage(frame);
    if (read.kind === "error") this.handleRubbish(read.message);
    else if (read.kind === "message") await this.#options.registry.receive(this.#joined.relay, read.message);
  }

  async #join(frame: Frame): Promise<void> {
    const payload = joinPayload.safeParse(frame.payload);
    if (!payload.success || this.#joined !== undefined) {
      this.#reply(frame, "error", { reason: this.#joined === undefined ? "invalid stamp secret" : "already joined" });
      return;
    }
    const { id, name, urls } = this.#options.relay;
    const relay: JoiningRelay = {
      id,
      name,
      urls,
      stampSecret: payload.data.stamp_secret,
      send: (message) => this.#tell(message),
      close: () => this.#end(GOING_AWAY, "the relay linked anew"),
    };
    this.#joined = { relay, joinRef: frame.joinRef ?? frame.ref };
    this.#reply(frame, "ok");
    await this.#options.registry.join(this.#options.ctx, relay);
    this.#send({ topic: TOPIC, event: "init", payload: {} });
  }

  #tell(message: PortalMessage): void {
    this.#send({ topic: TOPIC, event: message.event, payload: { ...message.payload } });
  }

  #reply(frame: Frame, status: "ok" | "error", response: Readonly<Record<string, unknown>> = {}): void {
    this.#send({
      topic: frame.topic,
      event: "phx_reply",
      payload: { status, response },
      ...(frame.ref === undefined ? {} : { ref: frame.ref }),
      ...(frame.joinRef === undefined ? {} : { joinRef: frame.joinRef }),
    });
  }

  #send(frame: Frame): void {
    if (this.#isOver) return;
    const { socket, serializer } = this.#options;
    if (socket.bufferedAmount > MAX_WAITING_BYTES) {
      this.#end(POLICY_VIOLATION, "the relay doesn't read");
      return;
    }
    const withRef = serializer === "2.0.0" && frame.joinRef === undefined && frame.topic === TOPIC;
    const joinRef = withRef ? this.#joined?.joinRef : undefined;
    socket.send(encodeFrame(serializer, { ...frame, ...(joinRef === undefined ? {} : { joinRef }) }));
  }

  #end(code: number, reason: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#options.ctx.logger.info({ relay: this.#options.relay.id, reason }, "A relay's link is ended");
    this.#options.socket.close(code);
  }
}
