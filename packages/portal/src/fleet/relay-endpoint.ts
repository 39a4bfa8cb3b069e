import type { IncomingMessage, Server } from "node:http";
import { isIPv4, isIPv6 } from "node:net";
import type { Duplex } from "node:stream";
import { fromNodeRequest, type HttpGate, type HttpRejection, type HttpRequest } from "@turnpike/authn";
import { MAX_FRAME_LENGTH, serializerVersion } from "@turnpike/link";
import { type WebSocket, WebSocketServer } from "ws";
import type { Relays } from "../store/relays.ts";
import { RelayChannel } from "./relay-channel.ts";
import type { RelayRegistry } from "./relay-registry.ts";

/** What {@link RelayEndpoint} needs. */
export interface RelayEndpointOptions {
  /** A door of its own, which takes relay tokens and nothing else. */
  readonly gate: HttpGate;
  readonly registry: RelayRegistry;
  readonly relays: Relays;
  /** How often it is looked whether a relay's token is still good. Default 5,000. */
  readonly checkMs?: number;
}

/** Relays of 2024 send a heartbeat every 30 seconds: who says nothing for three of them is gone. */
const SILENCE_MS = 95_000;
const MAX_RELAYS = 10_000;
const PATH = "/relay/websocket";
const BASE = "http://portal.invalid";

/** Where relays link: a WebSocket at `/relay/websocket`. */
export class RelayEndpoint {
  readonly #options: RelayEndpointOptions;
  readonly #sockets = new WebSocketServer({
    noServer: true,
    // UTF-8 has at most three bytes for each character of a string.
    maxPayload: MAX_FRAME_LENGTH * 3,
    perMessageDeflate: false,
  });
  readonly #open = new Set<{ readonly socket: WebSocket; readonly channel: RelayChannel }>();
  readonly #isStopping = new AbortController();

  constructor(options: RelayEndpointOptions) {
    this.#options = options;
  }

  /** Takes the server's upgrades. */
  attach(server: Server): void {
    server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      socket.on("error", () => socket.destroy());
      this.#upgrade(request, socket, head).catch(() => refuse(socket, { status: 500, headers: {}, body: "" }));
    });
  }

  /** Lets all relays go. */
  async stop(): Promise<void> {
    this.#isStopping.abort();
    for (const { channel } of this.#open) channel.goAway();
    for (const { socket } of this.#open) socket.terminate();
    this.#sockets.close();
  }

  async #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const target = request.url ?? "/";
    if (!URL.canParse(target, BASE)) return refuse(socket, { status: 400, headers: {}, body: "" });
    const url = new URL(target, BASE);
    const serializer = serializerVersion(url.searchParams.get("vsn") ?? undefined);
    if (url.pathname !== PATH) return refuse(socket, { status: 404, headers: {}, body: "" });
    if (serializer === undefined) return refuse(socket, { status: 400, headers: {}, body: "" });
    if (this.#open.size >= MAX_RELAYS)
      return refuse(socket, { status: 503, headers: { "retry-after": "30" }, body: "" });
    const asking = withToken(fromNodeRequest(request), url.searchParams.get("token"));
    const gone = new AbortController();
    socket.once("close", () => gone.abort());
    const admission = await this.#options.gate.admit(asking, { signal: gone.signal });
    if (admission.kind === "aborted" || this.#isStopping.signal.aborted) {
      socket.destroy();
      return;
    }
    if (admission.kind === "rejected") return refuse(socket, admission.rejection);
    const { context } = admission;
    if (context.actor?.kind !== "relay") return refuse(socket, { status: 403, headers: {}, body: "" });
    const registered = await this.#options.relays.find(context, context.actor.id);
    if (registered === undefined) return refuse(socket, { status: 401, headers: {}, body: "" });
    const relay = { id: registered.id, name: registered.name, urls: urlsOf(url.searchParams) };
    this.#sockets.handleUpgrade(request, socket, head, (webSocket) => {
      const channel = new RelayChannel({
        ctx: context,
        socket: webSocket,
        registry: this.#options.registry,
        serializer,
        relay,
      });
      this.#run(webSocket, channel, asking);
    });
  }

  #run(socket: WebSocket, channel: RelayChannel, asking: HttpRequest): void {
    const entry = { socket, channel };
    this.#open.add(entry);
    let heardAtMs = performance.now();
    socket.on("message", (data, isBinary) => {
      heardAtMs = performance.now();
      if (isBinary || !Buffer.isBuffer(data)) channel.handleRubbish("a binary frame");
      else channel.handleFrame(data.toString("utf8"));
    });
    // What is wrong with it ends it; `close` follows.
    socket.on("error", () => socket.terminate());
    const check = setInterval(() => {
      if (performance.now() - heardAtMs > SILENCE_MS) {
        socket.terminate();
        return;
      }
      void this.#options.gate.authenticator.authenticate(asking).then((outcome) => {
        if (outcome.kind === "failed" || outcome.kind === "unauthenticated") channel.expire();
      });
    }, this.#options.checkMs ?? 5_000);
    check.unref();
    socket.once("close", () => {
      clearInterval(check);
      this.#open.delete(entry);
      void channel.handleClosed();
    });
  }
}

/** The token of `X-Authorization`, or of the query as relays of 2024 send it, stands where schemes look for it. */
function withToken(request: HttpRequest, token: string | null): HttpRequest {
  const { "x-authorization": own, ...headers } = request.headers;
  const authorization = own ?? (token === null ? headers["authorization"] : `Bearer ${token}`);
  const path = request.target.split("?")[0] ?? "/";
  return { ...request, target: path, headers: { ...headers, authorization } };
}

/** URLs of a relay that says nothing of itself but its addresses and port. */
function urlsOf(parameters: URLSearchParams): readonly string[] {
  const port = parameters.get("port") ?? "3478";
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65_535 || Number(port) === 0) return [];
  const ipv4 = parameters.get("ipv4") ?? "";
  const ipv6 = parameters.get("ipv6") ?? "";
  const hosts = [...(isIPv4(ipv4) ? [ipv4] : []), ...(isIPv6(ipv6) ? [`[${ipv6}]`] : [])];
  return hosts.flatMap((host) => [`stun:${host}:${port}`, `turn:${host}:${port}?transport=udp`]);
}

function refuse(socket: Duplex, rejection: Omit<HttpRejection, "status"> & { readonly status: number }): void {
  const { status, headers, body } = rejection;
  const lines = Object.entries({ ...headers, "content-length": String(Buffer.byteLength(body)), connection: "close" });
  const text = lines.flatMap(([name, value]) => [value].flat().map((each) => `${name}: ${each}\r\n`)).join("");
  socket.end(`HTTP/1.1 ${status} ${REASONS[status] ?? "Refused"}\r\n${text}\r\n${body}`);
}

const REASONS: Readonly<Record<number, string>> = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  429: "Too Many Requests",
  500: "Internal Server Error",
  503: "Service Unavailable",
};
