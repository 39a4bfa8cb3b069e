import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { lstat, unlink } from "node:fs/promises";
import { connect } from "node:net";
import { OperationContext, printable } from "@turnpike/authn/core";
import type { AllocationDescription } from "@turnpike/turn";
import { z } from "zod";
import { prefixSubject } from "../defence/guess-defence.ts";
import { allocationFields, plainEvent } from "../events/plain-event.ts";
import { isRelayEventType, type RelayEventType } from "../events/relay-event.ts";
import { type Logger, silentLogger } from "../logger.ts";
import type { Relay } from "../relay.ts";
import { http } from "../node-http.ts";

/** What {@link startControlSocket} is made with. */
export interface ControlSocketOptions {
  /** Of the Unix domain socket, at most 107 bytes. Its mode is 0600: whoever may open it may do everything. */
  readonly path: string;
  readonly relay: Relay;
  readonly logger?: Logger;
}

/** Listens for administrators of this machine. */
export interface ControlSocket extends AsyncDisposable {
  readonly path: string;
  close(): Promise<void>;
}

/** The socket can't be opened. */
export class ControlSocketError extends Error {
  override readonly name = "ControlSocketError";
}

const MAX_PATH_BYTES = 107;
const MAX_BODY_BYTES = 16_384;
/** A reader of events that doesn't read is cut off when so much waits for it. */
const MAX_UNREAD_BYTES = 4 << 20;

/**
 * Opens the local control socket: HTTP with JSON on a Unix domain socket, for `turnpike ctl`.
 *
 * `GET /v1/allocations?user=`, `DELETE /v1/allocations/ID`, `DELETE /v1/users/NAME/allocations`, `GET /v1/bans`,
 * `POST /v1/bans`, `DELETE /v1/bans?user=` or `?address=`, `POST /v1/drain`, `GET /v1/stats`,
 * `GET /v1/events?type=&user=` (one JSON object a line, until either side closes).
 *
 * @throws ControlSocketError that says what to do
 */
export async function startControlSocket(options: ControlSocketOptions): Promise<ControlSocket> {
  const { path, relay, logger = silentLogger } = options;
  if (process.platform === "win32") throw new ControlSocketError("The control socket needs Unix domain sockets");
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) {
    throw new ControlSocketError(`Cannot open the control socket: the path has more than ${MAX_PATH_BYTES} bytes`);
  }
  await removeStale(path);
  const server = http.createServer((request, response) => {
    void answer({ request, response, relay, logger });
  });
  server.requestTimeout = 10_000;
  await listenPrivately(server, path);
  logger.info({ path }, "The control socket is open");
  const close = async (): Promise<void> => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeAllConnections();
    await closed;
  };
  return { path, close, [Symbol.asyncDispose]: close };
}

/** An allocation as administrators see it: plain JSON. */
export function plainAllocation(allocation: AllocationDescription): Readonly<Record<string, unknown>> {
  const { context, ...rest } = allocation;
  return { ...allocationFields(context), ...rest, username: printable(context.username) };
}

/** A socket that a relay left behind when it died is in the way; that of one that lives must stay. */
async function removeStale(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) return;
  if (!found.isSocket()) throw new ControlSocketError(`Cannot open the control socket: ${path} is no socket`);
  const answered = await new Promise<boolean>((resolve) => {
    const probe = connect(path, () => {
      probe.destroy();
      resolve(true);
    });
    probe.on("error", () => resolve(false));
  });
  if (answered) throw new ControlSocketError(`Cannot open the control socket: another relay serves ${path}`);
  await unlink(path);
}

/** The socket is made with its mode: there is no moment at which others could open it. */
async function listenPrivately(server: Server, path: string): Promise<void> {
  const listening = new Promise<void>((resolve, reject) => {
    server.once("listening", resolve);
    server.once("error", (error) =>
      reject(new ControlSocketError(`Cannot open the control socket: ${error.message}`, { cause: error })),
    );
  });
  const before = process.umask(0o177);
  try {
    server.listen(path);
  } finally {
    process.umask(before);
  }
  await listening;
}

interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly relay: Relay;
  readonly logger: Logger;
}

/** A mistake of who asks. */
class BadRequest extends Error {
  readonly status: 400 | 404 | 405 | 413;
  constructor(message: string, status: 400 | 404 | 405 | 413 = 400) {
    super(message);
    this.status = status;
  }
}

async function answer(exchange: Exchange): Promise<void> {
  const { request, response, logger } = exchange;
  try {
    const url = new URL(request.url ?? "/", "http://localhost");
    const ctx = OperationContext.internal("control-socket");
    await route(exchange, url, ctx);
  } catch (error) {
    if (response.headersSent) {
      response.destroy();
    } else if (error instanceof BadRequest) {
      send(response, error.status, { error: error.message });
    } else if (error instanceof TypeError || error instanceof RangeError) {
      send(response, 400, { error: error.message });
    } else {
      logger.error({ err: error }, "A request to the control socket failed");
      send(response, 500, { error: "Internal error: see the relay's log" });
    }
  }
}

async function route(exchange: Exchange, url: URL, ctx: OperationContext): Promise<void> {
  const { request, response, relay } = exchange;
  const [version, resource = "", name, rest, ...more] = url.pathname.split("/").slice(1).map(decodeSegment);
  const user = url.searchParams.get("user") ?? undefined;
  const operation = more.length > 0 ? "" : `${request.method} ${[version, resource, name && "*", rest].join("/")}`;
  switch (operation.replace(/\/+$/, "")) {
    case "GET v1/allocations": {
      const allocations = await relay.allocations(user === undefined ? {} : { user });
      return send(response, 200, { allocations: allocations.map(plainAllocation) });
    }
    case "DELETE v1/allocations/*": {
      if (!(await relay.end(ctx, name ?? ""))) throw new BadRequest("There is no allocation of this id", 404);
      return send(response, 200, { ended: 1 });
    }
    case "DELETE v1/users/*/allocations":
      return send(response, 200, { ended: await relay.endUser(ctx, name ?? "") });
    case "GET v1/bans":
      return send(response, 200, { bans: relay.bans() });
    case "POST v1/bans": {
      const parsed = banRequest.safeParse(await readJson(request));
      if (!parsed.success) throw new BadRequest(`Cannot ban: ${z.prettifyError(parsed.error)}`);
      const { seconds, reason, ...whom } = parsed.data;
      const subject = subjectOf(whom);
      return send(response, 201, { subject, ended: await relay.ban(ctx, { subject, seconds, reason }) });
    }
    case "DELETE v1/bans": {
      const subject = subjectOf({ user, address: url.searchParams.get("address") ?? undefined });
      if (!relay.unban(ctx, subject)) throw new BadRequest("There is no such ban", 404);
      return send(response, 200, { subject });
    }
    case "POST v1/drain":
      // It may take hours: who asked needn't wait.
      void relay.drain();
      return send(response, 202, { allocations: relay.stats().allocations });
    case "GET v1/stats":
      return send(response, 200, relay.stats());
    case "GET v1/events":
      return streamEvents(exchange, url.searchParams.getAll("type"), user);
    default:
      throw new BadRequest(`There is no ${request.method} ${url.pathname}`, 404);
  }
}

const banRequest = z.strictObject({
  user: z.string().min(1).max(763).optional(),
  address: z.string().max(64).optional(),
  seconds: z.number().positive().max(1e9).default(3600),
  reason: z.string().max(200).default("by an administrator"),
});

function subjectOf(whom: { readonly user?: string | undefined; readonly address?: string | undefined }) {
  if ((whom.user === undefined) === (whom.address === undefined)) {
    throw new BadRequest("Name either a user or an address");
  }
  return whom.user === undefined ? prefixSubject(whom.address ?? "") : ({ kind: "user", user: whom.user } as const);
}

async function streamEvents({ request, response, relay }: Exchange, names: readonly string[], user?: string) {
  const types: RelayEventType[] = [];
  for (const type of names.flatMap((each) => each.split(","))) {
    if (!isRelayEventType(type)) throw new BadRequest(`There is no event ${JSON.stringify(type)}`);
    types.push(type);
  }
  const stream = relay.events({ ...(types.length > 0 && { types }), ...(user !== undefined && { user }) });
  request.once("close", () => void stream.return());
  response.once("close", () => void stream.return());
  response.writeHead(200, { "content-type": "application/x-ndjson" });
  response.flushHeaders();
  let told = 0;
  for await (const event of stream) {
    const dropped = stream.dropped - told;
    told = stream.dropped;
    response.write(`${JSON.stringify(dropped === 0 ? plainEvent(event) : { ...plainEvent(event), dropped })}\n`);
    if (response.writableLength > MAX_UNREAD_BYTES) response.destroy();
  }
  response.end();
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of request) {
    if (!(part instanceof Buffer)) throw new TypeError("A request's body is bytes");
    bytes += part.length;
    if (bytes > MAX_BODY_BYTES) throw new BadRequest(`The body has more than ${MAX_BODY_BYTES} bytes`, 413);
    parts.push(part);
  }
  try {
    return JSON.parse(Buffer.concat(parts).toString("utf8"));
  } catch {
    throw new BadRequest("The body is no JSON");
  }
}

function decodeSegment(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    throw new BadRequest("The path is not encoded well");
  }
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(`${JSON.stringify(body)}\n`);
}
