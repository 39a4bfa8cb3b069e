import { createSocket, type Socket as DatagramSocket } from "node:dgram";
import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { performance } from "node:perf_hooks";
import { randomBytes } from "node:crypto";
import type { Duplex } from "node:stream";
import { createServer as createTlsServer } from "node:tls";
import { DtlsServer, loadOpenSsl, type DtlsSession } from "@turnpike/dtls";
import {
  AddressRegister,
  formatIpAddress,
  sameTransportAddress,
  StreamFramer,
  transportAddress,
  type TransportAddress,
} from "@turnpike/stun";
import { nodeCrypto } from "@turnpike/stun/node";
import {
  ClientSource,
  createPeerPolicy,
  PACKET_HEADROOM,
  PACKET_TAILROOM,
  TurnServer,
  Verdict,
  type Answer,
  type ClientTransport,
  type Listener,
  type Now,
  type OpenRelaySocket,
  type Output,
  type RelaySocket,
  type ServerOptions,
} from "@turnpike/turn";
import { createWebSocketStream, WebSocketServer } from "ws";
import { staticUsers } from "../sim/support/authentication.ts";
import { ownAddresses } from "../sim/support/hairpin.ts";
import type { TestCertificate } from "./certificates.ts";

/** The server engine on loopback sockets, by every transport: what a client is tried against. */
export class EngineServer {
  readonly server: TurnServer;
  readonly listening = new Map<ClientTransport, TransportAddress>();
  /** What becomes of allocations, with `admission: true`. Default: all are admitted. */
  admit: () => Omit<Extract<Answer, { readonly kind: "admission" }>, "kind" | "questionId"> = () => ({
    admitted: true,
  });
  readonly #closers: (() => void)[] = [];
  readonly #udp = new Map<number, DatagramSocket>();
  readonly #streams = new Map<
    number,
    { readonly stream: Duplex; readonly listener: number; readonly peer: TransportAddress }
  >();
  readonly #dtls = new Map<number, DtlsSession>();
  readonly #relays = new Map<
    number,
    { readonly relayed: TransportAddress; readonly close: () => void; readonly udp?: DatagramSocket }
  >();
  readonly #peers = new Map<number, Socket>();
  /** True: ConnectionBind requests are not handed on. */
  holdBinds = false;
  /** How many of them were not. */
  heldBinds = 0;
  #hangsUp = false;
  #applicationProtocols: readonly string[] = ["stun.turn", "stun.nat-discovery"];
  #timer: NodeJS.Timeout | undefined;
  #next = 1;
  #isClosed = false;

  private constructor(options: Partial<ServerOptions>, listeners: readonly Listener[]) {
    this.server = new TurnServer({
      crypto: nodeCrypto,
      random: (length) => randomBytes(length),
      realm: "example.org",
      listeners,
      authenticate: staticUsers({ alice: "wonderland" }),
      peerPolicy: createPeerPolicy({ allow: ["127.0.0.0/8"] }),
      hairpin: ownAddresses([], (address) =>
        [...this.#relays.values()].some(({ relayed }) => sameTransportAddress(relayed, address)),
      ),
      nonceKey: randomBytes(32),
      tcpRelay: true,
      mobility: true,
      ...options,
    });
  }

  static async start(
    options: Partial<ServerOptions> & {
      readonly transports?: readonly ClientTransport[];
      readonly certificate?: TestCertificate;
      /** True: streams are closed right behind an Allocate success. */
      readonly hangUpAfterAllocate?: boolean;
      /** What ALPN may agree on with clients of TLS and DTLS. Default: both names of RFC 7443. */
      readonly applicationProtocols?: readonly string[];
    } = {},
  ): Promise<EngineServer> {
    const { transports = ["udp", "tcp"], certificate, applicationProtocols, hangUpAfterAllocate, ...rest } = options;
    // The engine wants to know its listeners first; the ports are found when they are opened.
    const local = transportAddress("127.0.0.1", 3478);
    const listeners = transports.map((transport, index) => ({ id: index + 1, transport, local }));
    const self = new EngineServer(rest, listeners);
    self.#hangsUp = hangUpAfterAllocate === true;
    if (applicationProtocols !== undefined) self.#applicationProtocols = applicationProtocols;
    for (const { id, transport } of listeners) await self.#listen(id, transport, certificate);
    return self;
  }

  /** `turn:127.0.0.1:…?transport=…` for a transport. */
  uri(transport: ClientTransport, host = "127.0.0.1"): string {
    const address = this.listening.get(transport);
    if (address === undefined) throw new Error(`The server does not listen by ${transport}`);
    const scheme = transport === "tls" || transport === "dtls" || transport === "wss" ? "turns" : "turn";
    const name = { udp: "udp", tcp: "tcp", tls: "tcp", dtls: "udp", ws: "ws", wss: "ws" }[transport];
    return `${scheme}:${host}:${address.port}?transport=${name}`;
  }

  /** Breaks every connection of clients, as a network does. */
  breakConnections(): void {
    for (const session of this.#dtls.values()) session.close();
    for (const { stream } of this.#streams.values()) stream.destroy();
  }

  /** Breaks the connections of clients that carry no peer's bytes. */
  breakControl(): void {
    for (const [connection, { stream }] of this.#streams) if (!this.#bound.has(connection)) stream.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    for (const { close } of this.#relays.values()) close();
    for (const peer of this.#peers.values()) peer.destroy();
    this.breakConnections();
    for (const close of this.#closers) close();
  }

  async #listenDtls(id: number, certificate: TestCertificate): Promise<void> {
    const openSsl = loadOpenSsl();
    if ("unavailable" in openSsl) throw new Error(openSsl.unavailable);
    const [cert, key] = [Buffer.from(certificate.cert), Buffer.from(certificate.key)];
    const applicationProtocols = this.#applicationProtocols;
    const server = new DtlsServer({ openSsl, cert, key, cookieKey: randomBytes(32), applicationProtocols });
    const socket = createSocket("udp4");
    socket.bind(0, "127.0.0.1");
    await once(socket, "listening");
    const byPort = new Map<number, { readonly connection: number; readonly session: DtlsSession }>();
    socket.on("message", (message, from) => {
      const peer = transportAddress(from.address, from.port);
      const known = byPort.get(from.port);
      if (known !== undefined) {
        known.session.handleDatagram(message);
        if (known.session.state !== "ended") return;
        byPort.delete(from.port);
        this.#dtls.delete(known.connection);
        if (this.#isClosed) return;
        this.server.handleClientClosed(sourceOf(id, known.connection, peer), now());
        this.#drain();
        return;
      }
      const connection = this.#next++;
      const session = server.accept(message, Buffer.from(`${from.port}`), {
        send: (datagram) => socket.send(Buffer.from(datagram), from.port, from.address),
        receive: (bytes) => this.#packet(id, connection, peer, bytes.slice()),
      });
      if (session === undefined) return;
      byPort.set(from.port, { connection, session });
      this.#dtls.set(connection, session);
    });
    this.#closers.push(
      () => socket.close(),
      () => server.close(),
    );
    this.listening.set("dtls", transportAddress("127.0.0.1", socket.address().port));
  }

  async #listen(id: number, transport: ClientTransport, certificate: TestCertificate | undefined): Promise<void> {
    if (transport === "udp") {
      const socket = createSocket("udp4");
      socket.bind(0, "127.0.0.1");
      await once(socket, "listening");
      socket.on("message", (message, from) => {
        this.#packet(id, 0, transportAddress(from.address, from.port), message);
      });
      this.#udp.set(id, socket);
      this.#closers.push(() => socket.close());
      this.listening.set(transport, transportAddress("127.0.0.1", socket.address().port));
      return;
    }
    if (transport === "dtls") {
      if (certificate === undefined) throw new TypeError("DTLS needs a certificate");
      await this.#listenDtls(id, certificate);
      return;
    }
    const tls = certificate === undefined ? {} : { key: certificate.key, cert: certificate.cert };
    let server: Server;
    if (transport === "tcp") server = createServer((socket) => this.#stream(id, socket, socket));
    else if (transport === "tls") {
      server = createTlsServer({ ...tls, ALPNProtocols: [...this.#applicationProtocols] }, (socket) =>
        this.#stream(id, socket, socket),
      );
      server.on("tlsClientError", () => undefined);
    } else {
      const http = transport === "ws" ? createHttpServer() : createHttpsServer(tls);
      const sockets = new WebSocketServer({ server: http, handleProtocols: () => "turn" });
      sockets.on("connection", (webSocket, request) => {
        this.#stream(id, createWebSocketStream(webSocket), request.socket);
      });
      server = http;
    }
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    this.#closers.push(() => server.close());
    this.listening.set(transport, transportAddress("127.0.0.1", portOf(server)));
  }

  #stream(listener: number, stream: Duplex, socket: Socket): void {
    const connection = this.#next++;
    const peer = transportAddress(socket.remoteAddress ?? "127.0.0.1", socket.remotePort ?? 1);
    this.#streams.set(connection, { stream, listener, peer });
    const framer = new StreamFramer();
    stream.on("error", () => undefined);
    stream.on("data", (chunk: Uint8Array) => {
      if (this.#bound.has(connection)) {
        this.#bound.get(connection)!.write(chunk);
        return;
      }
      framer.push(chunk);
      for (let frame = framer.next(); frame !== undefined; frame = framer.next()) {
        if (frame.kind === "error") {
          stream.destroy();
          return;
        }
        this.#packet(listener, connection, peer, frame.buffer.slice(frame.offset, frame.offset + frame.length));
      }
    });
    stream.on("close", () => {
      this.#streams.delete(connection);
      if (this.#isClosed) return;
      this.server.handleClientClosed(sourceOf(listener, connection, peer), now());
      this.#drain();
    });
  }

  /** Data connections of clients, by their connection. */
  readonly #bound = new Map<number, Socket>();

  #packet(listener: number, connection: number, from: TransportAddress, bytes: Uint8Array): void {
    const buffer = new Uint8Array(PACKET_HEADROOM + bytes.length + PACKET_TAILROOM);
    buffer.set(bytes, PACKET_HEADROOM);
    if (this.holdBinds && typeOf(bytes) === CONNECTION_BIND) {
      this.heldBinds++;
      return;
    }
    const source = sourceOf(listener, connection, from);
    const verdict = this.server.handleClientPacket(source, buffer, PACKET_HEADROOM, bytes.length, now());
    this.#forward(verdict, buffer);
    this.#drain();
  }

  #forward(verdict: Verdict, buffer: Uint8Array): void {
    const { socket, listener, connection, destination, offset, length } = this.server.forward;
    if (verdict === Verdict.consumed) return;
    const bytes = buffer.slice(offset, offset + length);
    if (verdict === Verdict.toClient) this.#toClient(listener, connection, destination, bytes);
    else this.#relays.get(socket)?.udp?.send(bytes, destination.port, formatIpAddress(destination));
  }

  #toClient(listener: number, connection: number, to: TransportAddress, bytes: Uint8Array): void {
    if (connection === 0) this.#udp.get(listener)?.send(bytes, to.port, formatIpAddress(to));
    else if (this.#dtls.has(connection)) this.#dtls.get(connection)?.send(bytes);
    else {
      const stream = this.#streams.get(connection)?.stream;
      stream?.write(bytes);
      if (this.#hangsUp && typeOf(bytes) === ALLOCATE_SUCCESS) stream?.end();
    }
  }

  #drain(): void {
    for (let output = this.server.pollOutput(); output !== undefined; output = this.server.pollOutput()) {
      this.#carryOut(output);
    }
    clearTimeout(this.#timer);
    const atMs = this.server.pollTimeout();
    if (atMs === undefined || this.#isClosed) return;
    this.#timer = setTimeout(
      () => {
        this.server.handleTimeout(now());
        this.#drain();
      },
      Math.ceil(atMs - performance.now()),
    );
  }

  #carryOut(output: Output): void {
    switch (output.kind) {
      case "sendToClient":
        this.#toClient(output.listener, output.connection, output.destination, output.bytes);
        return;
      case "openRelaySocket":
        void this.#openRelay(output);
        return;
      case "closeRelaySocket":
        this.#relays.get(output.socket)?.close();
        this.#relays.delete(output.socket);
        return;
      case "admit": {
        const { questionId } = output;
        this.server.handleAnswer({ kind: "admission", questionId, ...this.admit() }, now());
        return;
      }
      case "connectPeer": {
        const socket = connect(output.peer.port, formatIpAddress(output.peer));
        const { questionId } = output;
        socket.once("connect", () => {
          const peerConnection = this.#keepPeer(socket);
          this.server.handleAnswer({ kind: "peerConnected", questionId, peerConnection }, now());
          this.#drain();
        });
        socket.once("error", () => {
          this.server.handleAnswer({ kind: "peerConnectFailed", questionId }, now());
          this.#drain();
        });
        return;
      }
      case "bindDataConnection": {
        const peer = this.#peers.get(output.peerConnection);
        const client = this.#streams.get(output.connection);
        if (peer === undefined || client === undefined) return;
        this.#bound.set(output.connection, peer);
        peer.pipe(client.stream, { end: false });
        return;
      }
      case "closePeerConnection":
        this.#peers.get(output.peerConnection)?.destroy();
        return;
      case "closeClient":
        this.#streams.get(output.connection)?.stream.end();
        this.#dtls.get(output.connection)?.close();
        return;
      default:
    }
  }

  #keepPeer(socket: Socket): number {
    const handle = this.#next++;
    socket.pause();
    socket.on("error", () => undefined);
    this.#peers.set(handle, socket);
    socket.on("close", () => {
      this.#peers.delete(handle);
      if (this.#isClosed) return;
      this.server.handlePeerConnectionClosed(handle, now());
      this.#drain();
    });
    return handle;
  }

  async #openRelay({ questionId, transport, families }: OpenRelaySocket): Promise<void> {
    const sockets: RelaySocket[] = [];
    for (const family of families) {
      if (family === 6) continue;
      const socket = this.#next++;
      const relayed = transport === "udp" ? await this.#openUdpRelay(socket) : await this.#openTcpRelay(socket);
      sockets.push({ socket, local: relayed, relayed });
    }
    const failures = families.includes(6) ? ([{ family: 6, code: 440 }] as const) : [];
    this.server.handleAnswer({ kind: "relaySocketOpened", questionId, sockets, failures }, now());
    this.#drain();
  }

  async #openUdpRelay(handle: number): Promise<TransportAddress> {
    const udp = createSocket("udp4");
    udp.bind(0, "127.0.0.1");
    await once(udp, "listening");
    const relayed = transportAddress("127.0.0.1", udp.address().port);
    udp.on("error", () => undefined);
    udp.on("message", (message, from) => {
      const buffer = new Uint8Array(PACKET_HEADROOM + message.length + PACKET_TAILROOM);
      buffer.set(message, PACKET_HEADROOM);
      const peer = transportAddress(from.address, from.port);
      const verdict = this.server.handlePeerPacket(handle, peer, buffer, PACKET_HEADROOM, message.length, now());
      this.#forward(verdict, buffer);
      this.#drain();
    });
    this.#relays.set(handle, { relayed, udp, close: () => udp.close() });
    return relayed;
  }

  async #openTcpRelay(handle: number): Promise<TransportAddress> {
    const listener = createServer((socket) => {
      const peer = transportAddress(socket.remoteAddress!, socket.remotePort!);
      this.server.handlePeerConnection(handle, peer, this.#keepPeer(socket), now());
      this.#drain();
    });
    listener.listen(0, "127.0.0.1");
    await once(listener, "listening");
    const relayed = transportAddress("127.0.0.1", portOf(listener));
    this.#relays.set(handle, { relayed, close: () => listener.close() });
    return relayed;
  }
}

/** Message types (RFC 8656 §17, RFC 6062 §6.1). */
const ALLOCATE_SUCCESS = 0x0103;
const CONNECTION_BIND = 0x000b;

function typeOf(message: Uint8Array): number {
  return ((message[0] ?? 0) << 8) | (message[1] ?? 0);
}

function now(): Now {
  return { monotonicMs: performance.now(), unixMs: Date.now() };
}

function sourceOf(listener: number, connection: number, from: TransportAddress): ClientSource {
  const register = new AddressRegister();
  register.set(from);
  const source = new ClientSource(register);
  source.listener = listener;
  source.connection = connection;
  return source;
}

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}
