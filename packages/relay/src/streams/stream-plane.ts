import type { Duplex } from "node:stream";
import type { IpAddress, TransportAddress } from "@turnpike/stun";
import { ClientSource } from "@turnpike/turn";
import { PlaneCounter, type PlaneCounters } from "../planes/counters.ts";
import type { Opened } from "../planes/plane.ts";
import type { Certificate, TlsIdentity } from "./certificate-files.ts";
import type { ConnectionLimits } from "./connection-limits.ts";
import { type AcceptedConnection, StreamAcceptor, type StreamTransport } from "./stream-acceptor.ts";
import { StreamConnection, type StreamConnectionUser } from "./stream-connection.ts";
import type { ResolvedStreamLimits, StreamCounts } from "./stream-options.ts";

/** Who takes what clients with connections bring. */
export interface ConnectionReceiver {
  /** As `PacketReceiver.handleClientPacket`. */
  handleClientPacket(source: ClientSource, buffer: Uint8Array, offset: number, length: number): void;
  /** A client's connection ended. `owner`: the engine that its frames went to, if not the receiver's own. */
  handleClientClosed(source: ClientSource, owner?: number): void;
  /** Whether a client that is silent must be kept: it has an allocation. */
  isClientNeeded(source: ClientSource): boolean;
}

/** What {@link StreamPlane} is made with. */
export interface StreamPlaneOptions {
  readonly limits: ResolvedStreamLimits;
  readonly connectionLimits: ConnectionLimits;
  readonly counts: StreamCounts;
  readonly counters: PlaneCounters;
  readonly certificate?: Certificate;
  readonly identity?: TlsIdentity;
  readonly ticketKeys: Buffer;
  readonly isTrustedProxy: (ip: IpAddress) => boolean;
  /** A fresh connection handle: a positive integer that no living connection has. */
  readonly nextConnection: () => number;
  readonly monotonicMs: () => number;
}

/** The listening ports of TCP, TLS and WebSocket, and the connections of their clients. */
export class StreamPlane {
  readonly #options: StreamPlaneOptions;
  readonly #values: Float64Array;
  readonly #acceptors: StreamAcceptor[] = [];
  readonly #connections = new Map<number, StreamConnection>();
  readonly #unflushed: StreamConnection[] = [];
  /** Streams that carry raw bytes (RFC 6062), which end with the relay. */
  readonly #taken = new Set<Duplex>();
  readonly #sweeper: NodeJS.Timeout;
  readonly #user: StreamConnectionUser;
  #certificate: Certificate | undefined;
  #receiver: ConnectionReceiver | undefined;
  #stopped = false;

  constructor(options: StreamPlaneOptions) {
    this.#options = options;
    this.#values = options.counters.values;
    this.#certificate = options.certificate;
    this.#user = this.#createUser();
    this.#sweeper = setInterval(() => this.sweep(), Math.ceil(options.limits.idleTimeoutMs / SWEEPS_PER_TIMEOUT));
    this.#sweeper.unref();
  }

  start(receiver: ConnectionReceiver): void {
    this.#receiver = receiver;
  }

  /** Opens a port. `listeners` names the listener of each transport that is served there. */
  async openPort(local: TransportAddress, listeners: ReadonlyMap<StreamTransport, number>): Promise<Opened> {
    const { limits, connectionLimits, counts, ticketKeys, isTrustedProxy, identity } = this.#options;
    const acceptor = new StreamAcceptor({
      transports: new Set(listeners.keys()),
      ...(this.#certificate && { certificate: this.#certificate }),
      ...(identity && { identity }),
      ticketKeys,
      isTrustedProxy,
      connectionLimits,
      limits,
      counts,
      onConnection: (accepted) => this.#adopt(accepted, listeners.get(accepted.transport) ?? -1),
    });
    const opened = await acceptor.listen(local);
    if (opened.kind === "opened") this.#acceptors.push(acceptor);
    return opened;
  }

  setCertificate(certificate: Certificate): void {
    this.#certificate = certificate;
    for (const acceptor of this.#acceptors) acceptor.setCertificate(certificate);
  }

  /** Sends one frame to a client: a copy, for it leaves later, when a plane has the next packet in its buffer. */
  sendToClient(connection: number, buffer: Uint8Array, offset: number, length: number): void {
    const client = this.#connections.get(connection);
    if (client === undefined || !client.send(Buffer.copyBytesFrom(buffer, offset, length))) {
      this.#values[PlaneCounter.closedSocket]!++;
      return;
    }
    this.#values[PlaneCounter.packetsToClients]!++;
    this.#values[PlaneCounter.bytesToClients]! += length;
  }

  /** Closes a client's connection when what was sent is out. */
  closeClient(connection: number): void {
    this.#connections.get(connection)?.end();
  }

  /** The connection of a handle. */
  find(connection: number): StreamConnection | undefined {
    return this.#connections.get(connection);
  }

  /** Takes a client's connection out, for raw bytes. Undefined if it is no more. */
  takeOver(connection: number): Duplex | undefined {
    const stream = this.#connections.get(connection)?.takeOver();
    this.#connections.delete(connection);
    if (stream !== undefined) {
      this.#taken.add(stream);
      stream.once("close", () => this.#taken.delete(stream));
    }
    return stream;
  }

  /** Closes connections that have no allocation and were silent for the idle time-out. Called by a timer. */
  sweep(): void {
    const oldestMs = this.#options.monotonicMs() - this.#options.limits.idleTimeoutMs;
    for (const connection of this.#connections.values()) {
      const isSilent = connection.lastFrameMs <= oldestMs && connection.owner === undefined;
      if (isSilent && this.#receiver?.isClientNeeded(connection.source) !== true) {
        this.#options.counts.idle++;
        connection.destroy();
      }
    }
  }

  /** Closes ports and connections. Resolves when all are closed. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#sweeper);
    const closed = this.#acceptors.map((acceptor) => acceptor.close());
    for (const connection of this.#connections.values()) connection.destroy();
    for (const stream of this.#taken) stream.destroy();
    // A server is closed when the last of its connections is.
    await Promise.all(closed);
  }

  #adopt(accepted: AcceptedConnection, listener: number): void {
    if (this.#stopped) {
      accepted.stream.destroy();
      return;
    }
    const source = new ClientSource(accepted.remote);
    source.listener = listener;
    source.connection = this.#options.nextConnection();
    const connection = new StreamConnection({
      id: source.connection,
      source,
      stream: accepted.stream,
      user: this.#user,
      maxOutputQueueBytes: this.#options.limits.maxOutputQueueBytes,
      nowMs: this.#options.monotonicMs(),
    });
    this.#connections.set(connection.id, connection);
    connection.start(accepted.first);
  }

  #createUser(): StreamConnectionUser {
    const { counts } = this.#options;
    return {
      handleFrame: (connection, buffer, offset, length) => {
        connection.lastFrameMs = this.#options.monotonicMs();
        this.#values[PlaneCounter.packetsFromClients]!++;
        this.#values[PlaneCounter.bytesFromClients]! += length;
        this.#receiver?.handleClientPacket(connection.source, buffer, offset, length);
      },
      handleMalformed: () => {
        counts.malformed++;
      },
      handleUnread: () => {
        counts.unread++;
      },
      handleDropped: (datagrams) => {
        counts.droppedDatagrams += datagrams;
      },
      handleClosed: (connection) => {
        this.#connections.delete(connection.id);
        this.#receiver?.handleClientClosed(connection.source, connection.owner);
      },
      willFlush: (connection) => {
        if (this.#unflushed.push(connection) === 1) setImmediate(this.#flush);
      },
    };
  }

  readonly #flush = (): void => {
    for (const connection of this.#unflushed.splice(0)) connection.flush();
  };
}

/** A silent connection is found at most a quarter of the time-out late. */
const SWEEPS_PER_TIMEOUT = 4;
