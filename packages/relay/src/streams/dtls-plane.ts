import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { DtlsServer, type DtlsSession, isClientHello, MAX_DTLS_PAYLOAD, type OpenSsl } from "@turnpike/dtls";
import { AddressRegister, formatIpAddress, parseIpAddress, type TransportAddress, withPort } from "@turnpike/stun";
import { ClientSource, PACKET_HEADROOM, PACKET_TAILROOM } from "@turnpike/turn";
import { PlaneCounter, type PlaneCounters } from "../planes/counters.ts";
import type { Opened } from "../planes/plane.ts";
import { errorCode, openFailure } from "../planes/system-error.ts";
import type { Certificate } from "./certificate-files.ts";
import type { ConnectionLimits } from "./connection-limits.ts";
import type { ConnectionReceiver } from "./stream-plane.ts";
import type { ResolvedStreamLimits, StreamCounts } from "./stream-options.ts";

/** What {@link DtlsPlane} is made with. */
export interface DtlsPlaneOptions {
  readonly limits: ResolvedStreamLimits;
  readonly connectionLimits: ConnectionLimits;
  readonly counts: StreamCounts;
  readonly counters: PlaneCounters;
  /** Undefined if no listener is `dtls:`. */
  readonly server:
    | { readonly openSsl: OpenSsl; readonly certificate: Certificate; readonly cookieKey: Uint8Array }
    | undefined;
  /** A fresh connection handle: a positive integer that no living connection has. */
  readonly nextConnection: () => number;
  readonly monotonicMs: () => number;
}

/** A client's association. */
interface DtlsClient {
  readonly name: string;
  readonly source: ClientSource;
  session: DtlsSession;
  /** When the last record came. */
  lastRecordMs: number;
  readonly startedMs: number;
  retransmission: NodeJS.Timeout | undefined;
}

/** RFC 7443 §2. */
const APPLICATION_PROTOCOLS: readonly string[] = ["stun.turn", "stun.nat-discovery"];
const SWEEPS_PER_TIMEOUT = 4;
const SOCKET_BUFFER_BYTES = 4 * 1024 * 1024;
/** Bytes that may wait in a socket's send queue; what is above is dropped and counted. */
const MAX_SEND_QUEUE_BYTES = 1024 * 1024;

/**
 * The listening sockets of DTLS, and the associations of their clients: one TURN message in each record, one record in
 * each datagram. Before a client has returned a cookie, nothing is kept of it.
 */
export class DtlsPlane {
  readonly #options: DtlsPlaneOptions;
  readonly #values: Float64Array;
  readonly #server: DtlsServer | undefined;
  readonly #sockets: Socket[] = [];
  readonly #byName = new Map<string, DtlsClient>();
  readonly #byConnection = new Map<number, DtlsClient>();
  readonly #sweeper: NodeJS.Timeout;
  #receiver: ConnectionReceiver | undefined;
  #stopped = false;

  /** @throws TypeError if the certificate can't be used. */
  constructor(options: DtlsPlaneOptions) {
    this.#options = options;
    this.#values = options.counters.values;
    const { server, limits } = options;
    if (server !== undefined) {
      const { openSsl, certificate, cookieKey } = server;
      this.#server = new DtlsServer({
        openSsl,
        ...certificate,
        cookieKey,
        applicationProtocols: APPLICATION_PROTOCOLS,
      });
    }
    const intervalMs = Math.min(limits.idleTimeoutMs, limits.handshakeTimeoutMs) / SWEEPS_PER_TIMEOUT;
    this.#sweeper = setInterval(() => this.sweep(), Math.ceil(intervalMs));
    this.#sweeper.unref();
  }

  start(receiver: ConnectionReceiver): void {
    this.#receiver = receiver;
  }

  /** Opens a listening socket. */
  openPort(listener: number, local: TransportAddress): Promise<Opened> {
    const socket = createSocket({
      type: local.family === 4 ? "udp4" : "udp6",
      ipv6Only: local.family === 6,
      // Destinations are addresses already: without this, each send would wait a turn for a resolver.
      lookup: (address, _options, callback) => callback(null, address, local.family),
    });
    return new Promise((resolve) => {
      socket.once("error", (error) => {
        socket.close();
        const code = errorCode(error);
        resolve({ kind: "failed", failure: openFailure(code), code });
      });
      socket.bind({ address: formatIpAddress(local), port: local.port, exclusive: true }, () => {
        socket.removeAllListeners("error");
        socket.on("error", () => this.#values[PlaneCounter.receiveErrors]!++);
        socket.on("message", (datagram, from) => this.#handleDatagram(socket, listener, datagram, from));
        growBuffers(socket);
        this.#sockets.push(socket);
        resolve({ kind: "opened", socket: listener, local: withPort(local, socket.address().port) });
      });
    });
  }

  /** New associations are served with another certificate. @throws TypeError if it can't be used. */
  setCertificate(certificate: Certificate): void {
    this.#server?.setCertificate(certificate.cert, certificate.key);
  }

  sendToClient(connection: number, buffer: Uint8Array, offset: number, length: number): void {
    const client = this.#byConnection.get(connection);
    if (client === undefined) {
      this.#values[PlaneCounter.closedSocket]!++;
    } else if (length > MAX_DTLS_PAYLOAD) {
      this.#values[PlaneCounter.oversized]!++;
    } else if (client.session.send(buffer.subarray(offset, offset + length))) {
      this.#values[PlaneCounter.packetsToClients]!++;
      this.#values[PlaneCounter.bytesToClients]! += length;
    } else {
      this.#values[PlaneCounter.sendErrors]!++;
    }
  }

  has(connection: number): boolean {
    return this.#byConnection.has(connection);
  }

  closeClient(connection: number): void {
    const client = this.#byConnection.get(connection);
    if (client !== undefined) this.#end(client);
  }

  /** Ends associations without allocation that were silent too long, and handshakes that don't end. By a timer. */
  sweep(): void {
    const { limits, counts, monotonicMs } = this.#options;
    const nowMs = monotonicMs();
    for (const client of this.#byConnection.values()) {
      if (client.session.state === "handshaking") {
        if (nowMs - client.startedMs >= limits.handshakeTimeoutMs) {
          counts.failedHandshakes++;
          this.#end(client);
        }
      } else if (
        nowMs - client.lastRecordMs >= limits.idleTimeoutMs &&
        this.#receiver?.isClientNeeded(client.source) !== true
      ) {
        counts.idle++;
        this.#end(client);
      }
    }
  }

  /** Says goodbye to all, and closes the sockets. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#sweeper);
    for (const client of this.#byConnection.values()) this.#end(client);
    this.#server?.close();
    await Promise.all(
      this.#sockets.splice(0).map((socket) => new Promise<void>((resolve) => socket.close(() => resolve()))),
    );
  }

  #handleDatagram(socket: Socket, listener: number, datagram: Uint8Array, from: RemoteInfo): void {
    if (this.#stopped) return;
    const name = `${listener} ${from.address} ${from.port}`;
    const client = this.#byName.get(name);
    // A ClientHello in an association that stands: its client has forgotten it, or somebody else claims to be it.
    // Which of them, the cookie shows (RFC 6347 §4.2.8).
    if (client === undefined || (client.session.state === "open" && isClientHello(datagram))) {
      this.#accept(socket, listener, name, datagram, from);
      return;
    }
    client.session.handleDatagram(datagram);
    this.#settle(client);
  }

  #accept(socket: Socket, listener: number, name: string, datagram: Uint8Array, from: RemoteInfo): void {
    const ip = parseIpAddress(from.address);
    if (ip === undefined || this.#server === undefined) return;
    const { counts, connectionLimits, nextConnection, monotonicMs } = this.#options;
    const accepted: { client?: DtlsClient } = {};
    const session = this.#server.accept(datagram, Buffer.from(name, "latin1"), {
      send: (answer) => this.#send(socket, answer, from),
      receive: (bytes) => accepted.client !== undefined && this.#handleRecord(accepted.client, bytes),
    });
    if (session === undefined) return;
    const former = this.#byName.get(name);
    if (former !== undefined) this.#end(former);
    if (!connectionLimits.enter()) {
      counts.refused++;
      session.close();
      return;
    }
    if (!connectionLimits.enterPrefix(ip)) {
      connectionLimits.leave();
      counts.refused++;
      session.close();
      return;
    }
    const remote = new AddressRegister();
    remote.set(withPort(ip, from.port));
    const source = new ClientSource(remote);
    source.listener = listener;
    source.connection = nextConnection();
    const startedMs = monotonicMs();
    const client: DtlsClient = { name, source, session, lastRecordMs: startedMs, startedMs, retransmission: undefined };
    accepted.client = client;
    counts.connections++;
    counts.accepted++;
    this.#byName.set(name, client);
    this.#byConnection.set(source.connection, client);
    this.#settle(client);
  }

  #handleRecord(client: DtlsClient, bytes: Uint8Array): void {
    client.lastRecordMs = this.#options.monotonicMs();
    this.#values[PlaneCounter.packetsFromClients]!++;
    this.#values[PlaneCounter.bytesFromClients]! += bytes.length;
    const packet = Buffer.allocUnsafe(PACKET_HEADROOM + bytes.length + PACKET_TAILROOM);
    packet.set(bytes, PACKET_HEADROOM);
    this.#receiver?.handleClientPacket(client.source, packet, PACKET_HEADROOM, bytes.length);
  }

  /** After an input: has the session ended, or must a flight be sent again some time? */
  #settle(client: DtlsClient): void {
    const { session } = client;
    if (session.state === "ended") {
      if (session.error !== undefined) this.#options.counts.failedHandshakes++;
      this.#end(client);
      return;
    }
    if (session.state === "open" && client.retransmission === undefined) return;
    clearTimeout(client.retransmission);
    client.retransmission = undefined;
    const timeoutMs = session.timeoutMs();
    if (timeoutMs === undefined) return;
    client.retransmission = setTimeout(() => {
      client.retransmission = undefined;
      session.handleTimeout();
      this.#settle(client);
    }, Math.ceil(timeoutMs));
    client.retransmission.unref();
  }

  #end(client: DtlsClient): void {
    if (!this.#byConnection.delete(client.source.connection)) return;
    if (this.#byName.get(client.name) === client) this.#byName.delete(client.name);
    clearTimeout(client.retransmission);
    client.session.close();
    const { counts, connectionLimits } = this.#options;
    counts.connections--;
    connectionLimits.leave();
    connectionLimits.leavePrefix(client.source.remote);
    // Whoever ends it may be the engine, in the middle of an input.
    queueMicrotask(() => this.#receiver?.handleClientClosed(client.source));
  }

  #send(socket: Socket, datagram: Uint8Array, to: RemoteInfo): void {
    if (socket.getSendQueueSize() > MAX_SEND_QUEUE_BYTES) {
      this.#values[PlaneCounter.sendQueueFull]!++;
      return;
    }
    // The session uses its memory again.
    socket.send(Buffer.from(datagram), to.port, to.address, (error) => {
      if (error !== null) this.#values[PlaneCounter.sendErrors]!++;
    });
  }
}

function growBuffers(socket: Socket): void {
  try {
    socket.setRecvBufferSize(SOCKET_BUFFER_BYTES);
    socket.setSendBufferSize(SOCKET_BUFFER_BYTES);
  } catch {
    // The system's own size has to do.
  }
}
