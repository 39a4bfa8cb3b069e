import { X509Certificate } from "node:crypto";
import { createServer as createHttpServer } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { createServer, type Server, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { createServer as createTlsServer, type TlsOptions } from "node:tls";
import { WebSocketServer } from "ws";
import { isDnsName } from "../host-port.ts";
import { formatHostPort } from "../host-port.ts";
import { guardStream } from "../network.ts";
import { endOutsideReads } from "../tls-end.ts";
import { maximumMessageLength, WebSocketStream } from "../ws-stream.ts";
import { hintsFor, type LocalAddress, systemAddresses } from "./advertise.ts";
import type { ListenContext, ListenHandler, Listening } from "./handler.ts";
import { parseBindAddress } from "./spec.ts";

/** Time that a client has for a TLS or HTTP handshake, in milliseconds. */
const handshakeMilliseconds = 10_000;

/** What the listeners on TCP have in common. */
export interface TcpListenerOptions {
  /** The addresses of this machine. Default: asks the operating system. */
  readonly addresses?: () => readonly LocalAddress[];
}

/** Key and certificate of a TLS listener, PEM. */
export interface TlsListenerOptions extends TcpListenerOptions {
  readonly key: string;
  readonly cert: string;
}

/** `tcp:PORT`, `tcp:ADDRESS:PORT`; port 0 finds one and keeps it. */
export function createTcpListener(options: TcpListenerOptions = {}): ListenHandler {
  return {
    listen(context) {
      const server = createServer({ allowHalfOpen: true, noDelay: true });
      server.on("connection", (socket) => accept(context, socket, socket));
      return serve(server, context, { addresses: options.addresses, names: [], path: false });
    },
  };
}

/** `tls:PORT`, `tls:ADDRESS:PORT`: advertises the names of its certificate. */
export function createTlsListener(options: TlsListenerOptions): ListenHandler {
  return {
    listen(context) {
      const server = createTlsServer({ ...tlsOptions(options), noDelay: true, allowHalfOpen: true });
      server.on("secureConnection", (socket) => accept(context, endOutsideReads(socket), socket));
      server.on("tlsClientError", (error) => context.logger.debug({ error }, "A TLS handshake failed"));
      return serve(server, context, { addresses: options.addresses, names: namesOf(options.cert), path: false });
    },
  };
}

/** `ws:ADDRESS:PORT/path`, and with a certificate `wss:ADDRESS:PORT/path`: streams in WebSocket messages. */
export function createWebSocketListener(options: TcpListenerOptions | TlsListenerOptions): ListenHandler {
  const secure = "cert" in options;
  return {
    listen(context) {
      const { path } = parseBindAddress(context.spec, { path: true });
      const server = secure
        ? createHttpsServer({ ...tlsOptions(options), noDelay: true })
        : createHttpServer({ noDelay: true });
      server.requestTimeout = handshakeMilliseconds;
      server.headersTimeout = handshakeMilliseconds;
      server.on("request", (_request, response) => response.writeHead(404).end());
      server.on("tlsClientError", (error) => context.logger.debug({ error }, "A TLS handshake failed"));
      const sockets = new WebSocketServer({
        noServer: true,
        path,
        perMessageDeflate: false,
        maxPayload: maximumMessageLength,
      });
      server.on("upgrade", (request, socket, head) => {
        socket.on("error", () => undefined);
        sockets.handleUpgrade(request, socket, head, (webSocket) => {
          accept(context, new WebSocketStream(webSocket), request.socket);
        });
      });
      return serve(server, context, {
        addresses: options.addresses,
        names: secure ? namesOf(options.cert) : [],
        path: true,
      });
    },
  };
}

function accept(context: ListenContext, stream: Duplex, socket: Socket): void {
  context.accept(guardStream(stream), { remoteAddress: socket.remoteAddress });
}

async function serve(
  server: Server,
  context: ListenContext,
  options: {
    readonly addresses: (() => readonly LocalAddress[]) | undefined;
    readonly names: readonly string[];
    readonly path: boolean;
  },
): Promise<Listening> {
  const { spec, gate, signal, keptPort } = context;
  const { host, port, path } = parseBindAddress(spec, { path: options.path });
  gate.checkListen({ kind: "tcp", address: host ?? "::", port });
  server.maxConnections = 2 * context.maximumStreams;
  const bound = await bind(server, { host, port: port === 0 ? (keptPort ?? 0) : port }, { signal, keptPort });
  const addresses = options.addresses ?? systemAddresses;
  return {
    bound: formatHostPort(bound.address, bound.port),
    ...(port === 0 ? { foundPort: bound.port } : {}),
    hints: hintsFor(spec.type, {
      bound: bound.address,
      port: bound.port,
      path,
      names: options.names,
      addresses: addresses(),
    }),
    close: () => closeServer(server),
  };
}

/** Binds a server. A kept port that is taken is an error: hints that are out there point to it. */
export function bind(
  server: Server,
  where: { readonly host: string | undefined; readonly port: number },
  options: { readonly signal: AbortSignal; readonly keptPort?: number | undefined },
): Promise<{ readonly address: string; readonly port: number }> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error & { readonly code?: string }): void => {
      if (error.code === "EADDRINUSE" && options.keptPort === where.port) {
        reject(
          new Error(
            `Port ${where.port}, kept from an earlier start, is in use: free it, or delete it from the file of ports`,
          ),
        );
      } else {
        reject(error);
      }
    };
    server.once("error", fail);
    // Without a host Node binds every address, IPv6 too where there is any.
    server.listen({ port: where.port, ...(where.host === undefined ? {} : { host: where.host }) }, () => {
      server.removeListener("error", fail);
      server.on("error", () => undefined);
      const address = server.address();
      if (options.signal.aborted) {
        server.close();
        reject(new Error("Listening was given up"));
      } else if (address === null || typeof address === "string") {
        reject(new Error("The server has no address"));
      } else {
        resolve({ address: address.address, port: address.port });
      }
    });
  });
}

/** Takes no more connections. Does not wait for those that are open: they belong to someone else. */
export function closeServer(server: Server): Promise<void> {
  server.close();
  return Promise.resolve();
}

function tlsOptions(options: TlsListenerOptions): TlsOptions {
  return { key: options.key, cert: options.cert, minVersion: "TLSv1.2", handshakeTimeout: handshakeMilliseconds };
}

/** The names that a certificate is valid for, wildcards left out. */
function namesOf(pem: string): readonly string[] {
  const names = new X509Certificate(pem).subjectAltName ?? "";
  return names
    .split(", ")
    .filter((entry) => entry.startsWith("DNS:"))
    .map((entry) => entry.slice("DNS:".length).toLowerCase())
    .filter((name) => isDnsName(name));
}
