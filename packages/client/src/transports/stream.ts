import type { Duplex } from "node:stream";
import { StreamFramer, type TransportAddress } from "@turnpike/stun";
import type { ClientTransport } from "@turnpike/turn";
import type { Transport, TransportReceiver, TransportSecurity } from "./transport.ts";

/** TCP, TLS or WebSocket: STUN messages and ChannelData cut out of bytes. */
export class StreamTransport implements Transport {
  readonly kind: ClientTransport;
  readonly reliable = true;
  readonly longestMessage: number = Number.POSITIVE_INFINITY;
  readonly remote: TransportAddress;
  readonly security: TransportSecurity | undefined;
  readonly #stream: Duplex;
  readonly #framer = new StreamFramer();
  readonly #sendQueueBytes: number;
  #receiver: TransportReceiver | undefined;
  #isClosed = false;
  #error: Error | undefined;

  constructor(
    stream: Duplex,
    options: {
      readonly kind: ClientTransport;
      readonly remote: TransportAddress;
      readonly security: TransportSecurity | undefined;
      readonly sendQueueBytes: number;
    },
  ) {
    this.#stream = stream;
    this.kind = options.kind;
    this.remote = options.remote;
    this.security = options.security;
    this.#sendQueueBytes = options.sendQueueBytes;
    stream.on("error", (error) => this.#end(error));
    stream.on("close", () => this.#end(undefined));
    stream.on("end", () => this.#end(undefined));
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  get isCongested(): boolean {
    return this.#stream.writableLength > this.#sendQueueBytes;
  }

  send(bytes: Uint8Array): void {
    if (!this.#isClosed) this.#stream.write(bytes);
  }

  start(receiver: TransportReceiver): void {
    if (this.#isClosed) {
      queueMicrotask(() => receiver.onClosed(this.#error));
      return;
    }
    this.#receiver = receiver;
    this.#stream.on("data", (chunk: Uint8Array) => this.#receive(chunk));
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#receiver = undefined;
    // What was written is still sent (a Refresh that ends the allocation), but nobody waits for ever.
    this.#stream.end();
    setTimeout(() => this.#stream.destroy(), LINGER_MS).unref();
  }

  #receive(chunk: Uint8Array): void {
    if (this.#isClosed) return;
    this.#framer.push(chunk);
    for (let frame = this.#framer.next(); frame !== undefined; frame = this.#framer.next()) {
      if (frame.kind === "error") {
        this.#end(new Error(`The server sent what is neither STUN nor ChannelData (${frame.code} at ${frame.offset})`));
        return;
      }
      this.#receiver?.onPacket(frame.buffer, frame.offset, frame.length);
    }
  }

  #end(error: Error | undefined): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#error = error;
    this.#stream.destroy();
    this.#receiver?.onClosed(error);
  }
}

const LINGER_MS = 1000;
