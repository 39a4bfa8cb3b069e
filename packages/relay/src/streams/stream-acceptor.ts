import type { IncomingMessage, Server as HttpServer } from "node:http";
import { createServer, type Server, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import {
  createSecureContext,
  createServer as createTlsServer,
  type Server as TlsServer,
  type TlsOptions,
  type TLSSocket,
} from "node:tls";
import { endOutsideReads } from "@turnpike/hints/tls-end";
import {
  AddressRegister,
  formatIpAddress,
  type IpAddress,
  parseIpAddress,
  type TransportAddress,
  withPort,
} from "@turnpike/stun";
import { createWebSocketStream, type WebSocket, WebSocketServer } from "ws";
import type { Opened } from "../planes/plane.ts";
import { errorCode, openFailure } from "../planes/system-error.ts";
import type { Certificate, TlsIdentity } from "./certificate-files.ts";
import type { ConnectionLimits } from "./connection-limits.ts";
import { readProxyHeader } from "./proxy-protocol.ts";
import { sniff } from "./sniff.ts";
import type { ResolvedStreamLimits, StreamCounts } from "./stream-options.ts";
import { http } from "../node-http.ts";

/** How a client of a stream port speaks. */
export type StreamTransport = "tcp" | "tls" | "ws" | "wss";

/** A connection whose next bytes are TURN. */
export interface AcceptedConnection {
  readonly transport: StreamTransport;
  readonly stream: Duplex;
  /** The client's, as a trusted proxy named it or as the system did. */
  readonly remote: AddressRegister;
  /** What was read already. */
  readonly first: Uint8Array;
}

/** What {@link StreamAcceptor} is made with. */
export interface StreamAcceptorOptions {
  /** What is served; a connection that speaks anything else is closed. */
  readonly transports: ReadonlySet<StreamTransport>;
  /** Needed for `tls` and `wss`. */
  readonly certificate?: Certificate;
  /** For those who ask for its name; without `certificate` for all. */
  readonly identity?: TlsIdentity;
  /** 48 bytes, kept over changes of the certificate so that sessions can be resumed. */
  readonly ticketKeys: Buffer;
  /** Whose connections begin with a PROXY header. */
  readonly isTrustedProxy: (ip: IpAddress) => boolean;
  readonly connectionLimits: ConnectionLimits;
  readonly limits: ResolvedStreamLimits;
  readonly counts: StreamCounts;
  readonly onConnection: (accepted: AcceptedConnection) => void;
}

/** The sub-protocol of TURN over WebSocket. */
export const WEBSOCKET_PROTOCOL = "turn";

/** RFC 7443, and what browsers ask for when they open a WebSocket. */
const ALPN_PROTOCOLS: readonly string[] = ["stun.turn", "stun.nat-discovery", "http/1.1"];
/** Those of TLS 1.2 that have forward secrecy and are AEAD; of TLS 1.3 all are. */
const CIPHERS = [
  "TLS_AES_128_GCM_SHA256",
  "TLS_AES_256_GCM_SHA384",
  "TLS_CHACHA20_POLY1305_SHA256",
  "ECDHE-ECDSA-AES128-GCM-SHA256",
  "ECDHE-RSA-AES128-GCM-SHA256",
  "ECDHE-ECDSA-AES256-GCM-SHA384",
  "ECDHE-RSA-AES256-GCM-SHA384",
  "ECDHE-ECDSA-CHACHA20-POLY1305",
  "ECDHE-RSA-CHACHA20-POLY1305",
].join(":");
const SESSION_LIFETIME_SECONDS = 3600;
const MAX_HTTP_HEADER_BYTES = 8192;
/** More than a TURN message or two; a browser may send several in one. */
const MAX_WEBSOCKET_MESSAGE_BYTES = 262_144;
const STREAM_BUFFER_BYTES = 65_536;
const KEEP_ALIVE_MS = 60_000;
const BACKLOG = 1024;
const NOTHING = new Uint8Array(0);

/** From the first byte of a connection to the first of TURN in it. */
interface Handshake {
  readonly socket: Socket;
  /** {@link tlsName}, which a closed socket has forgotten. */
  readonly name: string;
  readonly remote: AddressRegister;
  secure: boolean;
  timer: NodeJS.Timeout;
  isCounted: boolean;
}

/**
 * One listening port: takes connections, reads what stands before TURN (PROXY header, TLS, WebSocket), and tells by the
 * first bytes which of them there are. All that must be done within the handshake time-out.
 */
export class StreamAcceptor {
  readonly #options: StreamAcceptorOptions;
  readonly #server: Server;
  readonly #tls: TlsServer | undefined;
  readonly #http: HttpServer;
  readonly #webSockets: WebSocketServer;
  /** Handshakes that are under way. */
  readonly #handshakes = new Set<Handshake>();
  /** Those in TLS, by the client's address, which is what the secured socket still knows. */
  readonly #inTls = new Map<string, Handshake>();
  readonly #bySocket = new WeakMap<object, Handshake>();

  constructor(options: StreamAcceptorOptions) {
    this.#options = options;
    this.#server = createServer(
      {
        allowHalfOpen: true,
        noDelay: true,
        keepAlive: true,
        keepAliveInitialDelay: KEEP_ALIVE_MS,
        highWaterMark: STREAM_BUFFER_BYTES,
      },
      (socket) => this.#accept(socket),
    );
    this.#http = http.createServer({ maxHeaderSize: MAX_HTTP_HEADER_BYTES }, (_request, response) => {
      response.writeHead(426, { upgrade: "websocket", connection: "close" }).end();
    });
    this.#http.on("upgrade", (request, socket, head) => this.#upgrade(request, socket, head));
    this.#webSockets = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: MAX_WEBSOCKET_MESSAGE_BYTES,
      handleProtocols: (offered) => (offered.has(WEBSOCKET_PROTOCOL) ? WEBSOCKET_PROTOCOL : false),
    });
    const certificate = options.certificate ?? options.identity;
    if (certificate !== undefined) {
      this.#tls = createTlsServer(
        { ...this.#tlsOptions(certificate), ...identityOptions(options.identity) },
        (socket) => this.#secured(socket),
      );
      this.#tls.on("tlsClientError", (_error, socket) => socket.destroy());
    }
  }

  /** Listens. Resolves with what came of it; an acceptor that failed is of no further use. */
  listen(local: TransportAddress): Promise<Opened> {
    const server = this.#server;
    return new Promise((resolve) => {
      server.once("error", (error) => {
        const code = errorCode(error);
        resolve({ kind: "failed", failure: openFailure(code), code });
      });
      const host = formatIpAddress(local);
      server.listen({ host, port: local.port, exclusive: true, ipv6Only: local.family === 6, backlog: BACKLOG }, () => {
        server.removeAllListeners("error");
        // What can't be accepted is the client's to try again.
        server.on("error", ignore);
        const address = server.address();
        const port = address !== null && typeof address === "object" ? address.port : local.port;
        resolve({ kind: "opened", socket: 0, local: withPort(local, port) });
      });
    });
  }

  /** New connections are served with another certificate. */
  setCertificate(certificate: Certificate): void {
    this.#tls?.setSecureContext(this.#tlsOptions(certificate));
  }

  /** Takes no further connection, and ends handshakes. Established connections stay. Resolves when the port is free. */
  close(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
    for (const handshake of this.#handshakes) handshake.socket.destroy();
    this.#http.close();
    return closed;
  }

  #tlsOptions({ cert, key }: Certificate | TlsIdentity): TlsOptions {
    return {
      cert,
      key,
      minVersion: "TLSv1.2",
      ciphers: CIPHERS,
      honorCipherOrder: true,
      ALPNProtocols: [...ALPN_PROTOCOLS],
      handshakeTimeout: this.#options.limits.handshakeTimeoutMs,
      ticketKeys: this.#options.ticketKeys,
      sessionTimeout: SESSION_LIFETIME_SECONDS,
    };
  }

  #accept(socket: Socket): void {
    const { connectionLimits, counts, limits } = this.#options;
    const remote = new AddressRegister();
    const ip = parseIpAddress(socket.remoteAddress?.split("%")[0] ?? "");
    if (ip === undefined || !connectionLimits.enter()) {
      if (ip !== undefined) counts.refused++;
      socket.on("error", ignore);
      socket.destroy();
      return;
    }
    remote.set(withPort(ip, socket.remotePort ?? 0));
    counts.connections++;
    counts.accepted++;
    const handshake: Handshake = {
      socket,
      name: tlsName(socket),
      remote,
      secure: false,
      isCounted: false,
      timer: setTimeout(() => socket.destroy(), limits.handshakeTimeoutMs),
    };
    this.#handshakes.add(handshake);
    socket.on("error", ignore);
    socket.once("close", () => this.#handleClose(handshake));
    const isProxy = this.#options.isTrustedProxy(ip);
    if (isProxy) this.#readProxyHeader(handshake);
    else if (this.#countPrefix(handshake)) this.#readFirst(handshake, socket, NOTHING);
  }

  #handleClose(handshake: Handshake): void {
    const { connectionLimits, counts } = this.#options;
    connectionLimits.leave();
    counts.connections--;
    if (handshake.isCounted) connectionLimits.leavePrefix(handshake.remote);
    if (this.#handshakes.has(handshake)) {
      counts.failedHandshakes++;
      this.#finish(handshake);
    }
  }

  /** The handshake is over, one way or the other. */
  #finish(handshake: Handshake): void {
    clearTimeout(handshake.timer);
    this.#handshakes.delete(handshake);
    this.#inTls.delete(handshake.name);
  }

  #countPrefix(handshake: Handshake): boolean {
    handshake.isCounted = this.#options.connectionLimits.enterPrefix(handshake.remote);
    if (!handshake.isCounted) {
      this.#options.counts.refused++;
      this.#finish(handshake);
      handshake.socket.destroy();
    }
    return handshake.isCounted;
  }

  #readProxyHeader(handshake: Handshake): void {
    const { socket, remote } = handshake;
    collect(socket, NOTHING, (bytes) => {
      const header = readProxyHeader(bytes);
      if (header.kind === "more") return false;
      if (header.kind === "error") {
        socket.destroy();
        return true;
      }
      if (header.client !== undefined) remote.set(header.client);
      if (this.#countPrefix(handshake)) this.#readFirst(handshake, socket, bytes.subarray(header.length));
      return true;
    });
  }

  #readFirst(handshake: Handshake, stream: Socket, first: Uint8Array): void {
    const { transports } = this.#options;
    collect(stream, first, (bytes) => {
      const spoken = sniff(bytes);
      if (spoken === "more") return false;
      const served = handshake.secure ? (["tls", "wss"] as const) : (["tcp", "ws"] as const);
      if (spoken === "turn" && transports.has(served[0])) {
        this.#establish(handshake, served[0], stream, bytes);
      } else if (spoken === "http" && transports.has(served[1])) {
        this.#bySocket.set(stream, handshake);
        putBack(stream, bytes);
        this.#http.emit("connection", stream);
        stream.resume();
      } else if (spoken === "tls" && this.#tls !== undefined && !handshake.secure) {
        this.#inTls.set(handshake.name, handshake);
        putBack(stream, bytes);
        this.#tls.emit("connection", stream);
      } else {
        stream.destroy();
      }
      return true;
    });
  }

  #secured(socket: TLSSocket): void {
    socket.on("error", ignore);
    const handshake = this.#inTls.get(tlsName(socket));
    if (handshake === undefined) {
      socket.destroy();
      return;
    }
    handshake.secure = true;
    this.#readFirst(handshake, endOutsideReads(socket), NOTHING);
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const handshake = this.#bySocket.get(request.socket);
    if (handshake === undefined) {
      socket.destroy();
      return;
    }
    this.#webSockets.handleUpgrade(request, socket, head, (webSocket: WebSocket) => {
      // TURN is binary; text is somebody else's protocol.
      webSocket.on("message", (_data, isBinary) => {
        if (!isBinary) webSocket.terminate();
      });
      const stream = createWebSocketStream(webSocket, { highWaterMark: STREAM_BUFFER_BYTES });
      stream.on("error", ignore);
      // A WebSocket's handshake may be followed by silence: until its first bytes it counts as one.
      collect(stream, NOTHING, (bytes) => {
        this.#establish(handshake, handshake.secure ? "wss" : "ws", stream, bytes);
        return true;
      });
    });
  }

  #establish(handshake: Handshake, transport: StreamTransport, stream: Duplex, first: Uint8Array): void {
    this.#finish(handshake);
    this.#options.onConnection({ transport, stream, remote: handshake.remote, first });
  }
}

function identityOptions(identity: TlsIdentity | undefined): TlsOptions {
  if (identity === undefined) return {};
  const { serverName, cert, key } = identity;
  const context = createSecureContext({ cert, key, minVersion: "TLSv1.3" });
  return { SNICallback: (asked, done) => done(null, asked === serverName ? context : undefined) };
}

/** Reads until `decide` is content with all that came so far. The stream is paused then, and nobody listens to it. */
function collect(stream: Duplex, first: Uint8Array, decide: (bytes: Uint8Array) => boolean): void {
  let bytes = first;
  if (bytes.length > 0 && decide(bytes)) return;
  const take = (chunk: Uint8Array): void => {
    bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]);
    stream.pause();
    stream.off("data", take);
    stream.off("end", end);
    if (decide(bytes)) return;
    stream.on("data", take);
    stream.on("end", end);
    stream.resume();
  };
  const end = (): void => {
    stream.destroy();
  };
  stream.on("data", take);
  stream.on("end", end);
  stream.resume();
}

function putBack(stream: Duplex, bytes: Uint8Array): void {
  if (bytes.length > 0) stream.unshift(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
}

function tlsName(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`;
}

function ignore(): void {}
