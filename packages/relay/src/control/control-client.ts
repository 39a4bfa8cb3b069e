import type { IncomingMessage } from "node:http";
import { createInterface } from "node:readline";
import { http } from "../node-http.ts";

/** The relay could not be reached, or refused. `status` is that of its answer, if there was one. */
export class ControlError extends Error {
  override readonly name = "ControlError";
  readonly status: number | undefined;

  constructor(message: string, options: { readonly status?: number; readonly cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.status = options.status;
  }
}

/** One request to a relay's control socket. */
export interface ControlRequest {
  readonly method: "GET" | "POST" | "DELETE";
  /** With its segments encoded. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body?: unknown;
  /** Ends the request. */
  readonly signal?: AbortSignal;
}

/** Asks the relay at a control socket. @throws ControlError */
export async function askRelay(socketPath: string, request: ControlRequest): Promise<unknown> {
  const response = await open(socketPath, request);
  const text = await textOf(response);
  return parse(text);
}

/** The lines of a stream, each a JSON object, until the relay ends or `signal` does. @throws ControlError */
export async function* followRelay(socketPath: string, request: ControlRequest): AsyncGenerator<unknown, void> {
  const response = await open(socketPath, request);
  try {
    for await (const line of createInterface({ input: response })) yield parse(line);
  } catch (error) {
    if (error instanceof ControlError) throw error;
    if (request.signal?.aborted !== true) {
      throw new ControlError(`The relay at ${socketPath} ended, or cut the connection`, { cause: error });
    }
  } finally {
    response.destroy();
  }
}

async function open(socketPath: string, request: ControlRequest): Promise<IncomingMessage> {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(request.query ?? {})) {
    for (const each of typeof value === "string" ? [value] : (value ?? [])) query.append(name, each);
  }
  const path = query.size === 0 ? request.path : `${request.path}?${query.toString()}`;
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const { method, signal } = request;
    // A connection of its own: one that is kept may be to a relay that has ended since.
    const outgoing = http.request({ socketPath, method, path, agent: false, ...(signal && { signal }) }, resolve);
    outgoing.once("error", (error: NodeJS.ErrnoException) => reject(unreachable(socketPath, error)));
    outgoing.end(request.body === undefined ? undefined : JSON.stringify(request.body));
  });
  const { statusCode: status = 500 } = response;
  if (status < 300) return response;
  const body = parse(await textOf(response));
  const known = typeof body === "object" && body !== null && "error" in body ? String(body.error) : `status ${status}`;
  throw new ControlError(known, { status });
}

async function textOf(response: IncomingMessage): Promise<string> {
  response.setEncoding("utf8");
  let text = "";
  for await (const part of response) text += String(part);
  return text;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ControlError("The relay's answer is no JSON", { cause: error });
  }
}

function unreachable(path: string, error: NodeJS.ErrnoException): ControlError {
  const why =
    error.code === "ENOENT" || error.code === "ECONNREFUSED"
      ? "no relay serves it; is one running, with this control socket?"
      : error.code === "EACCES"
        ? "only the relay's own user may open it; use sudo -u"
        : error.message;
  return new ControlError(`Cannot ask the relay at ${path}: ${why}`, { cause: error });
}
