import type { Duplex } from "node:stream";
import { StreamFramer, type TransportAddress } from "@turnpike/stun";
import { type ClientSource, PACKET_HEADROOM, PACKET_TAILROOM } from "@turnpike/turn";
import { OutputQueue } from "./output-queue.ts";

/** Who takes what a client's connection brings. */
export interface StreamConnectionUser {
  handleFrame(connection: StreamConnection, buffer: Uint8Array, offset: number, length: number): void;
  /** The client's bytes are no TURN: the connection is closing. */
  handleMalformed(connection: StreamConnection): void;
  /** The client doesn't read its answers: the connection is closing. */
  handleUnread(connection: StreamConnection): void;
  handleDropped(datagrams: number): void;
  /** The connection ended. Called once, and not after {@link StreamConnection.takeOver}. */
  handleClosed(connection: StreamConnection): void;
  /** Something was written in this turn: call {@link StreamConnection.flush} at its end. */
  willFlush(connection: StreamConnection): void;
}

/** What {@link StreamConnection} is made with. */
export interface StreamConnectionOptions {
  /** Handle; {@link ClientSource.connection} of what it brings. */
  readonly id: number;
  readonly source: ClientSource;
  readonly stream: Duplex;
  readonly user: StreamConnectionUser;
  readonly maxOutputQueueBytes: number;
  readonly nowMs: number;
}

/**
 * A client's stream connection, from its first TURN byte on: cuts what comes into frames, and sends what the relay has
 * for the client without ever holding more of it than it may.
 */
export class StreamConnection {
  readonly id: number;
  readonly source: ClientSource;
  /** When the last whole frame came, on the monotonic clock. */
  lastFrameMs: number;
  /** The engine that its frames belong to, if not that of the reactor which accepted it (RFC 8016 across engines). */
  owner: number | undefined;
  readonly #stream: Duplex;
  readonly #user: StreamConnectionUser;
  readonly #framer = new StreamFramer();
  readonly #queue: OutputQueue;
  #state: "open" | "closing" | "taken" | "closed" = "open";
  #corked = false;
  #full = false;

  constructor(options: StreamConnectionOptions) {
    this.id = options.id;
    this.source = options.source;
    this.lastFrameMs = options.nowMs;
    this.#stream = options.stream;
    this.#user = options.user;
    this.#queue = new OutputQueue(options.maxOutputQueueBytes);
    this.#stream.on("data", this.#handleData);
    this.#stream.on("drain", this.#handleDrain);
    this.#stream.on("end", this.#handleEnd);
    this.#stream.on("close", this.#handleClose);
    this.#stream.on("error", ignore);
  }

  get remote(): TransportAddress {
    return this.source.remote;
  }

  /** Bytes that wait for the client, in this process. */
  get waitingBytes(): number {
    return this.#queue.bytes + this.#stream.writableLength;
  }

  /** Takes bytes that were read before the connection was made, and reads on. */
  start(first: Uint8Array): void {
    this.#handleData(first);
    if (this.#isOpen()) this.#stream.resume();
  }

  /** Sends one frame. The bytes must not change afterwards. False if the connection is no more. */
  send(bytes: Uint8Array): boolean {
    if (this.#state !== "open") return false;
    if (this.#full) {
      const before = this.#queue.dropped;
      const kept = this.#queue.push(bytes, isDatagram(bytes));
      if (this.#queue.dropped > before) this.#user.handleDropped(this.#queue.dropped - before);
      if (!kept) {
        this.#user.handleUnread(this);
        this.#stream.destroy();
      }
      return kept;
    }
    if (!this.#corked) {
      // Frames of one turn leave by one system call, and in one TLS record.
      this.#corked = true;
      this.#stream.cork();
      this.#user.willFlush(this);
    }
    this.#full = !this.#stream.write(bytes);
    return true;
  }

  /** Lets what was written in this turn go. */
  flush(): void {
    if (!this.#corked) return;
    this.#corked = false;
    this.#stream.uncork();
  }

  /** Ends the connection when what was written is sent. */
  end(): void {
    if (this.#state !== "open") return;
    this.#state = "closing";
    this.flush();
    this.#stream.end();
  }

  /** Ends the connection at once. */
  destroy(): void {
    this.#stream.destroy();
  }

  /**
   * Hands the stream over to who reads raw bytes from it (RFC 6062 §5.4): paused, with what was read already put
   * back. Undefined if the connection is no more.
   */
  takeOver(): Duplex | undefined {
    if (this.#state !== "open") return undefined;
    this.#state = "taken";
    for (let bytes = this.#queue.shift(); bytes !== undefined; bytes = this.#queue.shift()) this.#stream.write(bytes);
    this.flush();
    const stream = this.#stream;
    stream.pause();
    stream.off("data", this.#handleData);
    stream.off("drain", this.#handleDrain);
    stream.off("end", this.#handleEnd);
    stream.off("close", this.#handleClose);
    const rest = this.#framer.takeRest();
    if (rest.length > 0) stream.unshift(Buffer.from(rest.buffer, rest.byteOffset, rest.byteLength));
    return stream;
  }

  readonly #handleData = (chunk: Uint8Array): void => {
    if (this.#state !== "open") return;
    const framer = this.#framer;
    framer.push(chunk);
    for (let frame = framer.next(); frame !== undefined; frame = framer.next()) {
      if (frame.kind === "error") {
        this.#state = "closing";
        this.#user.handleMalformed(this);
        this.#stream.destroy();
        return;
      }
      const { buffer, offset, length } = frame;
      // What lies in the chunk stays: nobody writes there again. The framer's own memory does change.
      if (buffer.buffer === chunk.buffer) this.#user.handleFrame(this, buffer, offset, length);
      else this.#user.handleFrame(this, withRoom(buffer, offset, length), PACKET_HEADROOM, length);
      // A frame may have ended the connection, or made it a data connection.
      if (!this.#isOpen()) return;
    }
  };

  #isOpen(): boolean {
    return this.#state === "open";
  }

  readonly #handleDrain = (): void => {
    this.#full = false;
    this.#stream.cork();
    while (!this.#full) {
      const bytes = this.#queue.shift();
      if (bytes === undefined) break;
      this.#full = !this.#stream.write(bytes);
    }
    this.#stream.uncork();
  };

  /** The client sends nothing more: a TURN connection has no use without its requests. */
  readonly #handleEnd = (): void => {
    this.end();
  };

  readonly #handleClose = (): void => {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#user.handleClosed(this);
  };
}

/** ChannelData, or a Data indication (RFC 8656 §17); all else is an answer that the client waits for. */
function isDatagram(bytes: Uint8Array): boolean {
  const first = bytes[0] ?? 0;
  return first >= 0x40 || (first === 0x00 && bytes[1] === 0x17);
}

function withRoom(buffer: Uint8Array, offset: number, length: number): Uint8Array {
  const copy = Buffer.allocUnsafe(PACKET_HEADROOM + length + PACKET_TAILROOM);
  copy.set(buffer.subarray(offset, offset + length), PACKET_HEADROOM);
  return copy;
}

function ignore(): void {}
