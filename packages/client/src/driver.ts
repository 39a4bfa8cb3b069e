import { randomBytes } from "node:crypto";
import { performance } from "node:perf_hooks";
import { nodeCrypto } from "@turnpike/stun/node";
import type { TransportAddress } from "@turnpike/stun";
import {
  Received,
  TurnClient,
  type ClientCredentials,
  type ClientOutput,
  type Completion,
  type Now,
} from "@turnpike/turn";
import { asError, failureError, reasonOf, TurnClientError } from "./errors.ts";
import type { Transport } from "./transports/transport.ts";

/** What a driver tells. */
export interface DriverHandlers {
  /** A datagram of a peer. `data` is the receiver's to keep. */
  readonly onDatagram?: (peer: TransportAddress, data: Uint8Array, channel: number) => void;
  /** Outputs that are neither packets nor ends of operations. */
  readonly onNotice?: (notice: Notice) => void;
  /** Opens the transport that a 300 asks for. Default: none; the Allocate fails. */
  readonly openAlternate?: (server: TransportAddress, domain: string | undefined) => Promise<Transport>;
}

/** Outputs of the engine that its owner decides about. */
export type Notice = Exclude<ClientOutput, { readonly kind: "send" | "completed" | "failed" | "redirect" }>;

/** What a driver is made with. */
export interface DriverOptions extends DriverHandlers {
  readonly transport: Transport;
  readonly credentials?: ClientCredentials | undefined;
  readonly software?: string | undefined;
}

interface Waiting {
  readonly what: string;
  readonly resolve: (completion: Completion) => void;
  readonly reject: (error: Error) => void;
}

/** Ties a client engine to a transport, the clock and a timer: every input is followed by a complete drain. */
export class ClientDriver {
  readonly engine: TurnClient;
  readonly #handlers: DriverHandlers;
  readonly #waiting = new Map<number, Waiting>();
  #transport: Transport;
  /** What broke the transport, if that is known. */
  #lastError: Error | undefined;
  #timer: NodeJS.Timeout | undefined;
  #timerAtMs = Number.POSITIVE_INFINITY;
  #isClosed = false;

  constructor(options: DriverOptions) {
    const { transport, credentials, software } = options;
    this.#handlers = options;
    this.#transport = transport;
    this.engine = new TurnClient({
      crypto: nodeCrypto,
      random: (length) => randomBytes(length),
      server: transport.remote,
      reliable: transport.reliable,
      ...(credentials === undefined ? {} : { credentials }),
      ...(software === undefined ? {} : { software }),
    });
    this.#listen(transport);
  }

  get transport(): Transport {
    return this.#transport;
  }

  now(): Now {
    return { monotonicMs: performance.now(), unixMs: Date.now() };
  }

  /** Starts an operation and waits for its end. `what` completes "Cannot …". */
  async perform(
    what: string,
    start: (engine: TurnClient, now: Now) => number,
    signal?: AbortSignal,
  ): Promise<Completion> {
    if (signal?.aborted === true) throw reasonOf(signal);
    if (this.#isClosed) throw new TurnClientError("closed", `Cannot ${what}: the client is closed`);
    const operation = start(this.engine, this.now());
    const ended = new Promise<Completion>((resolve, reject) => {
      this.#waiting.set(operation, { what, resolve, reject });
    });
    const abort = (): void => {
      this.#waiting.get(operation)?.reject(reasonOf(signal!));
      this.#waiting.delete(operation);
      this.engine.abort(operation, this.now());
      this.#drain();
    };
    signal?.addEventListener("abort", abort, { once: true });
    this.#drain();
    // Nobody would ever answer.
    if (this.#transport.isClosed) this.tell((engine, now) => engine.handleTransportFailed(now));
    try {
      return await ended;
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  /** Tells the engine something that has no end to wait for. */
  tell(input: (engine: TurnClient, now: Now) => void): void {
    if (this.#isClosed) return;
    input(this.engine, this.now());
    this.#drain();
  }

  /** False if the datagram was dropped: congestion, no allocation, or too long for the transport. */
  sendDatagram(peer: TransportAddress, data: Uint8Array): boolean {
    if (this.#isClosed || this.#transport.isClosed || this.#transport.isCongested) return false;
    const bytes = this.engine.encodeDatagram(peer, data, this.now());
    if (bytes === undefined || bytes.length > this.#transport.longestMessage) return false;
    this.#transport.send(bytes);
    return true;
  }

  /** From here on packets go by another transport; those that still come by the old one are read until it closes. */
  replaceTransport(transport: Transport): Transport {
    const old = this.#transport;
    this.#transport = transport;
    this.#listen(transport);
    return old;
  }

  /** Takes `replaceTransport` back. @returns the one that was tried. */
  restoreTransport(old: Transport): Transport {
    const tried = this.#transport;
    this.#transport = old;
    return tried;
  }

  /** Ends everything at once. */
  destroy(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#transport.close();
    for (const { what, reject } of this.#waiting.values()) {
      reject(new TurnClientError("closed", `Cannot ${what}: the client was closed`));
    }
    this.#waiting.clear();
  }

  #listen(transport: Transport): void {
    transport.start({
      onPacket: (buffer, offset, length) => this.#receive(buffer, offset, length, transport),
      onRefused: (error) => {
        // A refused packet may be a server that restarts: once there is an allocation its lifetime decides.
        if (!this.engine.isAllocated) this.#failed(transport, error);
      },
      onClosed: (error) => this.#failed(transport, error),
    });
  }

  #failed(transport: Transport, error: Error | undefined): void {
    if (transport !== this.#transport) return;
    this.#lastError = error;
    this.tell((engine, now) => engine.handleTransportFailed(now));
  }

  #receive(buffer: Uint8Array, offset: number, length: number, transport: Transport): void {
    if (this.#isClosed) return;
    const { engine } = this;
    if (engine.handlePacket(buffer, offset, length, this.now()) === Received.data) {
      const { peer, offset: start, length: count, channel } = engine.received;
      // A datagram of UDP has a buffer of its own; those of streams and of DTLS are used again.
      const data =
        transport.kind !== "udp" ? buffer.slice(start, start + count) : buffer.subarray(start, start + count);
      this.#handlers.onDatagram?.(peer, data, channel);
      return;
    }
    this.#drain();
  }

  #drain(): void {
    for (let output = this.engine.pollOutput(); output !== undefined; output = this.engine.pollOutput()) {
      this.#carryOut(output);
    }
    this.#arm();
  }

  #carryOut(output: ClientOutput): void {
    switch (output.kind) {
      case "send":
        this.#transport.send(output.bytes);
        return;
      case "completed":
        this.#waiting.get(output.operation)?.resolve(output.completion);
        this.#waiting.delete(output.operation);
        return;
      case "failed": {
        const waiting = this.#waiting.get(output.operation);
        waiting?.reject(failureError(waiting.what, output.failure, this.#lastError));
        this.#waiting.delete(output.operation);
        return;
      }
      case "redirect":
        void this.#redirect(output.servers, output.domain);
        return;
      default:
        this.#handlers.onNotice?.(output);
    }
  }

  async #redirect(servers: readonly TransportAddress[], domain: string | undefined): Promise<void> {
    for (const server of servers) {
      const transport = await this.#openAlternate(server, domain);
      if (transport === undefined) continue;
      if (this.#isClosed) {
        transport.close();
        return;
      }
      this.replaceTransport(transport).close();
      this.tell((engine, now) => engine.handleRedirected(server, now));
      return;
    }
    this.tell((engine, now) => engine.handleTransportFailed(now));
  }

  async #openAlternate(server: TransportAddress, domain: string | undefined): Promise<Transport | undefined> {
    try {
      return await this.#handlers.openAlternate?.(server, domain);
    } catch (error) {
      // The next server is tried; that all of them failed is what the operation ends with.
      asError(error);
      return undefined;
    }
  }

  #arm(): void {
    const atMs = this.engine.pollTimeout() ?? Number.POSITIVE_INFINITY;
    if (this.#isClosed || atMs === this.#timerAtMs) return;
    clearTimeout(this.#timer);
    this.#timerAtMs = atMs;
    if (atMs === Number.POSITIVE_INFINITY) return;
    const delayMs = Math.min(Math.max(0, Math.ceil(atMs - performance.now())), LONGEST_TIMER_MS);
    this.#timer = setTimeout(() => {
      this.#timerAtMs = Number.POSITIVE_INFINITY;
      this.tell((engine, now) => engine.handleTimeout(now));
    }, delayMs);
  }
}

/** What `setTimeout` can count to. */
const LONGEST_TIMER_MS = 2_147_483_647;
