import type { Duplex } from "node:stream";
import { MAX_FRAME_LENGTH } from "@turnpike/link";
import { WebSocket } from "ws";
import type { LinkConnection, LinkConnectionEvents, LinkConnector } from "./connector.ts";
import type { LinkRequest } from "./login-url.ts";

/** Where a stream to a portal must lead. */
export interface StreamTarget {
  readonly host: string;
  readonly port: number;
  /** Whether the stream must be TLS, by which the host has proven its name. */
  readonly secure: boolean;
}

/** What {@link webSocketConnector} may be given. */
export interface WebSocketConnectorOptions {
  /**
   * Opens the stream below, through connection hints, a proxy or Tor: where `secure`, TLS is on it already and the host has
   * proven its name, for nothing is checked after it. Default: the system's sockets.
   */
  readonly connect?: (target: StreamTarget, options: { readonly signal: AbortSignal }) => Promise<Duplex>;
  /** PEM certificates to trust instead of the system's. Not for `connect`, which has trust of its own. */
  readonly certificateAuthorities?: string | readonly string[];
  /** How long connecting may take, over all addresses. Default 15,000; with `connect` 120,000, which Tor may need. */
  readonly timeoutMs?: number;
}

// UTF-8 has at most three bytes for each character of a string.
const MAX_PAYLOAD_BYTES = MAX_FRAME_LENGTH * 3;
/** Room for what became of several hints. */
const MAX_REASON_LENGTH = 1000;
const TIMEOUT_MS = 15_000;
const PATIENT_TIMEOUT_MS = 120_000;

/** Connections by WebSocket (RFC 6455). Certificates and host names are verified; redirects are not followed. */
export function webSocketConnector(options: WebSocketConnectorOptions = {}): LinkConnector {
  return { open: (request, events) => new WebSocketConnection(request, events, options) };
}

class WebSocketConnection implements LinkConnection {
  readonly #request: LinkRequest;
  readonly #events: LinkConnectionEvents;
  readonly #authorities: WebSocketConnectorOptions["certificateAuthorities"];
  readonly #timeoutMs: number;
  readonly #dialling = new AbortController();
  #socket: WebSocket | undefined;
  #isOver = false;

  constructor(request: LinkRequest, events: LinkConnectionEvents, options: WebSocketConnectorOptions) {
    const { connect } = options;
    this.#request = request;
    this.#events = events;
    this.#authorities = options.certificateAuthorities;
    this.#timeoutMs = options.timeoutMs ?? (connect === undefined ? TIMEOUT_MS : PATIENT_TIMEOUT_MS);
    if (connect === undefined) this.#speak(undefined);
    else void this.#dial(connect);
  }

  send(text: string): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(text);
  }

  get waitingBytes(): number {
    return this.#socket?.bufferedAmount ?? 0;
  }

  close(): void {
    this.#end(() => undefined);
  }

  async #dial(connect: NonNullable<WebSocketConnectorOptions["connect"]>): Promise<void> {
    const { hostname, port, protocol } = new URL(this.#request.url);
    const secure = protocol === "wss:";
    const target = { host: hostname.replace(/^\[|\]$/g, ""), port: Number(port || (secure ? 443 : 80)), secure };
    const { signal } = this.#dialling;
    const timer = setTimeout(
      () => this.#dialling.abort(new Error(`no connection within ${this.#timeoutMs} ms`)),
      this.#timeoutMs,
    );
    try {
      const stream = await connect(target, { signal });
      stream.on("error", () => undefined);
      if (this.#isOver || signal.aborted) stream.destroy();
      else this.#speak(stream);
      signal.throwIfAborted();
    } catch (error) {
      this.#end(() => this.#events.closed(reasonOf(error)));
    } finally {
      clearTimeout(timer);
    }
  }

  #speak(carrier: Duplex | undefined): void {
    const { url, headers } = this.#request;
    const authorities = this.#authorities;
    const socket = new WebSocket(url, {
      headers,
      maxPayload: MAX_PAYLOAD_BYTES,
      handshakeTimeout: this.#timeoutMs,
      perMessageDeflate: false,
      followRedirects: false,
      ...(authorities === undefined ? {} : { ca: [authorities].flat() }),
      ...(carrier === undefined ? {} : { createConnection: () => carrier }),
    });
    this.#socket = socket;
    const events = this.#events;
    socket.on("open", () => {
      if (!this.#isOver) events.opened();
    });
    socket.on("unexpected-response", (request, response) => {
      const retryAfter = response.headers["retry-after"];
      this.#end(() =>
        events.refused({ status: response.statusCode ?? 0, ...(retryAfter === undefined ? {} : { retryAfter }) }),
      );
      request.destroy();
    });
    socket.on("message", (data, isBinary) => {
      if (this.#isOver) return;
      if (isBinary) events.rubbish("a binary frame");
      else events.frame(textOf(data));
    });
    socket.on("error", (error) => this.#end(() => events.closed(reasonOf(error))));
    socket.on("close", (code) => this.#end(() => events.closed(`the connection was closed (${code})`)));
  }

  #end(tell: () => void): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#dialling.abort(new Error("The portal link let the connection go"));
    const socket = this.#socket;
    // A portal that still listens is told; the library cuts the connection if it says nothing back.
    if (socket?.readyState === WebSocket.OPEN) socket.close(1000);
    else socket?.terminate();
    tell();
  }
}

function textOf(data: Buffer | ArrayBuffer | Buffer[]): string {
  if (Array.isArray(data)) return Buffer.concat(data).toString("utf8");
  return Buffer.from(data instanceof ArrayBuffer ? new Uint8Array(data) : data).toString("utf8");
}

/** The system's code where there is one; messages of several attempts are in `errors`. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return "unknown error";
  const code = "code" in error && typeof error.code === "string" ? error.code : error.name;
  return error.message === "" ? code : `${code}: ${error.message.slice(0, MAX_REASON_LENGTH)}`;
}
