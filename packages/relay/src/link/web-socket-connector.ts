import type { Duplex } from "node:stream";
import { MAX_FRAME_LENGTH } from "@turnpike/link";
import { WebSocket } from "ws";
import type { LinkConnection, LinkConnectionEvents, LinkConnector } from "./connector.ts";
import type { LinkRequest } from "./login-url.ts";

/** What {@link webSocketConnector} may be given. */
export interface WebSocketConnectorOptions {
  /** Makes the stream below, to a host and port: through a proxy or Tor, for example. Default: a socket of the system. */
  readonly createConnection?: (target: { readonly host: string; readonly port: number }) => Duplex;
  /** PEM certificates to trust instead of the system's. */
  readonly certificateAuthorities?: string | readonly string[];
  /** How long connecting may take, over all addresses. Default 15,000. */
  readonly timeoutMs?: number;
}

// UTF-8 has at most three bytes for each character of a string.
const MAX_PAYLOAD_BYTES = MAX_FRAME_LENGTH * 3;

/** Connections by WebSocket (RFC 6455). Certificates and host names are verified; redirects are not followed. */
export function webSocketConnector(options: WebSocketConnectorOptions = {}): LinkConnector {
  return { open: (request, events) => open(request, events, options) };
}

function open(
  { url, headers }: LinkRequest,
  events: LinkConnectionEvents,
  { createConnection, certificateAuthorities, timeoutMs = 15_000 }: WebSocketConnectorOptions,
): LinkConnection {
  const { hostname, port, protocol } = new URL(url);
  const target = { host: hostname.replace(/^\[|\]$/g, ""), port: Number(port || (protocol === "wss:" ? 443 : 80)) };
  const socket = new WebSocket(url, {
    headers,
    maxPayload: MAX_PAYLOAD_BYTES,
    handshakeTimeout: timeoutMs,
    perMessageDeflate: false,
    followRedirects: false,
    ...(certificateAuthorities === undefined ? {} : { ca: [certificateAuthorities].flat() }),
    ...(createConnection === undefined ? {} : { createConnection: () => createConnection(target) }),
  });
  let isOver = false;
  const end = (tell: () => void): void => {
    if (isOver) return;
    isOver = true;
    // A portal that still listens is told; the library cuts the connection if it says nothing back.
    if (socket.readyState === WebSocket.OPEN) socket.close(1000);
    else socket.terminate();
    tell();
  };
  socket.on("open", () => {
    if (!isOver) events.opened();
  });
  socket.on("unexpected-response", (request, response) => {
    const retryAfter = response.headers["retry-after"];
    end(() =>
      events.refused({ status: response.statusCode ?? 0, ...(retryAfter === undefined ? {} : { retryAfter }) }),
    );
    request.destroy();
  });
  socket.on("message", (data, isBinary) => {
    if (isOver) return;
    if (isBinary) events.rubbish("a binary frame");
    else events.frame(textOf(data));
  });
  socket.on("error", (error) => end(() => events.closed(reasonOf(error))));
  socket.on("close", (code) => end(() => events.closed(`the connection was closed (${code})`)));
  return {
    send(text) {
      if (socket.readyState === WebSocket.OPEN) socket.send(text);
    },
    get waitingBytes() {
      return socket.bufferedAmount;
    },
    close: () => end(() => {}),
  };
}

function textOf(data: Buffer | ArrayBuffer | Buffer[]): string {
  if (Array.isArray(data)) return Buffer.concat(data).toString("utf8");
  return Buffer.from(data instanceof ArrayBuffer ? new Uint8Array(data) : data).toString("utf8");
}

/** The system's code where there is one; messages of several attempts are in `errors`. */
function reasonOf(error: Error): string {
  const code = "code" in error && typeof error.code === "string" ? error.code : error.name;
  return error.message === "" ? code : `${code}: ${error.message.slice(0, 200)}`;
}
