import { connect as connectTcp, isIP } from "node:net";
import type { Duplex } from "node:stream";
import { checkServerIdentity, connect as connectTls } from "node:tls";
import { endOutsideReads, formatHostPort, type Connector } from "@turnpike/hints";
import { formatIpAddress, parseIpAddress, withPort, type TransportAddress } from "@turnpike/stun";
import { WebSocket, createWebSocketStream } from "ws";
import { asError, reasonOf, TurnClientError } from "../errors.ts";
import { hostOf, placeOf, type ServerCandidate } from "../resolve.ts";
import { isPinned, notPinned, readAuthorities, readPin } from "./trust.ts";
import {
  CONNECT_TIMEOUT_MS,
  TURN_APPLICATION_PROTOCOLS,
  type OpenTransportOptions,
  type TlsClientOptions,
  type TransportSecurity,
} from "./transport.ts";

/** The sub-protocol of TURN over WebSocket: binary messages carry the same bytes as a TCP connection. */
const WEBSOCKET_PROTOCOL = "turn";
/** A connector has time limits of its own; Tor may have to build circuits first. */
const CONNECTOR_TIMEOUT_MS = 120_000;

/** An open stream to a server that has proven who it is. */
export interface ConnectedStream {
  readonly stream: Duplex;
  /** Where the server is; unspecified if somebody else resolved its name, such as Tor. */
  readonly remote: TransportAddress;
  readonly security: TransportSecurity | undefined;
}

/** TCP, or what carries its bytes. */
type Carrier = Pick<ConnectedStream, "stream" | "remote">;

/**
 * Opens TCP, TLS or WebSocket. No byte of the protocol is sent before the server's certificate was accepted.
 *
 * @throws TurnClientError with `notConnected` or `certificateRejected`; the signal's reason.
 */
export async function connectStream(
  candidate: ServerCandidate,
  options: OpenTransportOptions,
): Promise<ConnectedStream> {
  const usual = options.connector === undefined ? CONNECT_TIMEOUT_MS : CONNECTOR_TIMEOUT_MS;
  const waitedMs = options.connectTimeoutMs ?? usual;
  const timeout = AbortSignal.timeout(waitedMs);
  const signal = options.signal === undefined ? timeout : AbortSignal.any([options.signal, timeout]);
  try {
    return await connect(candidate, options, signal);
  } catch (error) {
    if (options.signal?.aborted === true) throw reasonOf(options.signal);
    if (error instanceof TurnClientError || error instanceof TypeError) throw error;
    const to = `${candidate.transport} to ${placeOf(candidate)}`;
    const why = timeout.aborted ? `no answer within ${waitedMs / 1000} s` : messageOf(error);
    const code = isCertificateProblem(error) ? "certificateRejected" : "notConnected";
    throw new TurnClientError(code, `Cannot connect by ${to}: ${why}`, { cause: error });
  }
}

async function connect(
  candidate: ServerCandidate,
  options: OpenTransportOptions,
  signal: AbortSignal,
): Promise<ConnectedStream> {
  const { transport } = candidate;
  const web = transport === "ws" || transport === "wss";
  const secure = transport === "tls" || transport === "wss";
  const offered = options.tls?.applicationProtocols ?? TURN_APPLICATION_PROTOCOLS;
  const { stream, remote, security } = secure
    ? await openTls(candidate, { ...options, offered: web ? ["http/1.1"] : offered }, signal)
    : { ...(await openTcp(candidate, options, signal)), security: undefined };
  return { stream: web ? await openWebSocket(candidate, stream, signal) : stream, remote, security };
}

async function openTcp(
  candidate: ServerCandidate,
  options: OpenTransportOptions,
  signal: AbortSignal,
): Promise<Carrier> {
  if (options.connector !== undefined) {
    if (options.localAddress !== undefined) {
      throw new TypeError("Cannot use localAddress with a connector: the connector chooses how to leave");
    }
    return openThrough(options.connector, candidate, signal);
  }
  const socket = connectTcp({
    host: formatIpAddress(candidate.address),
    port: candidate.address.port,
    // A peer that ends its direction may still be sent to (RFC 6062).
    allowHalfOpen: true,
    noDelay: true,
    keepAlive: true,
    ...(options.localAddress === undefined ? {} : { localAddress: options.localAddress }),
  });
  await opened(socket, "connect", signal);
  return { stream: socket, remote: candidate.address };
}

async function openThrough(connector: Connector, candidate: ServerCandidate, signal: AbortSignal): Promise<Carrier> {
  const host = hostOf(candidate);
  const { port } = candidate.address;
  // Onion names exist in Tor only, whatever way TCP takes.
  const type = host.endsWith(".onion") ? "tor" : "tcp";
  const { stream, address } = await connector.connect({ hints: [`${type}:${formatHostPort(host, port)}`], signal });
  const found = address === undefined ? undefined : parseIpAddress(address);
  return { stream, remote: found === undefined ? candidate.address : withPort(found, port) };
}

async function openTls(
  candidate: ServerCandidate,
  options: OpenTransportOptions & { readonly offered: readonly string[] },
  signal: AbortSignal,
): Promise<ConnectedStream & { readonly security: TransportSecurity }> {
  const { serverName } = candidate;
  const { ca, pins, minVersion = "TLSv1.2" }: TlsClientOptions = options.tls ?? {};
  const expected = pins?.map((pin) => readPin(pin));
  const authorities = ca === undefined ? {} : { ca: readAuthorities(ca) };
  const { stream: tcp, remote } = await openTcp(candidate, options, signal);
  const socket = connectTls({
    socket: tcp,
    ...(isIP(serverName) === 0 ? { servername: serverName } : {}),
    checkServerIdentity: (_host, certificate) => checkServerIdentity(serverName, certificate),
    ...(options.offered.length === 0 ? {} : { ALPNProtocols: [...options.offered] }),
    minVersion,
    ...authorities,
    // A pinned key stands in for authority and name; it is checked below, before a byte is sent.
    rejectUnauthorized: expected === undefined,
  });
  await opened(socket, "secureConnect", signal);
  if (expected !== undefined && !isPinned(socket.getPeerX509Certificate(), expected)) {
    socket.destroy();
    throw notPinned(serverName);
  }
  return {
    stream: endOutsideReads(socket),
    remote,
    security: {
      protocol: socket.getProtocol() ?? "",
      cipher: socket.getCipher().standardName,
      applicationProtocol:
        socket.alpnProtocol === false || socket.alpnProtocol === null ? undefined : socket.alpnProtocol,
    },
  };
}

async function openWebSocket(candidate: ServerCandidate, stream: Duplex, signal: AbortSignal): Promise<Duplex> {
  const { serverName, address } = candidate;
  const host = isIP(serverName) === 6 ? `[${serverName}]` : serverName;
  const socket = new WebSocket(`ws://${host}:${address.port}/`, WEBSOCKET_PROTOCOL, {
    createConnection: () => stream,
    perMessageDeflate: false,
    maxPayload: MAXIMUM_WEBSOCKET_MESSAGE,
    followRedirects: false,
  });
  const abort = (): void => socket.terminate();
  signal.addEventListener("abort", abort, { once: true });
  let closed: (() => void) | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      closed = () => reject(new Error("the server closed the connection"));
      socket.once("open", resolve);
      socket.on("error", reject);
      socket.once("close", closed);
    });
    if (socket.protocol !== WEBSOCKET_PROTOCOL) throw new Error("the server doesn't speak TURN over WebSocket");
  } catch (error) {
    stream.destroy();
    throw error;
  } finally {
    signal.removeEventListener("abort", abort);
    if (closed !== undefined) socket.removeListener("close", closed);
  }
  return createWebSocketStream(socket);
}

const MAXIMUM_WEBSOCKET_MESSAGE = 1_048_576;

function opened(socket: Duplex, event: "connect" | "secureConnect", signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void => {
      signal.removeEventListener("abort", abort);
      socket.destroy();
      reject(error);
    };
    const abort = (): void => fail(reasonOf(signal));
    const closed = (): void => fail(new Error("the server closed the connection"));
    socket.once("error", fail);
    socket.once("close", closed);
    socket.once(event, () => {
      signal.removeEventListener("abort", abort);
      socket.removeListener("error", fail);
      socket.removeListener("close", closed);
      resolve();
    });
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
  });
}

/** Codes that `node:tls` gives to what is wrong with certificates. */
function isCertificateProblem(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return /CERT|SELF_SIGNED|UNABLE_TO_|ERR_TLS_CERT/u.test(code);
}

function messageOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map((each) => asError(each).message).join("; ");
  // Without Node's advice to its own users, which comes behind a semicolon.
  return asError(error).message.replace(/; if the root CA .*/u, "");
}
