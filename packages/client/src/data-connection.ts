import { randomBytes } from "node:crypto";
import { performance } from "node:perf_hooks";
import type { Duplex } from "node:stream";
import { nodeCrypto } from "@turnpike/stun/node";
import { ConnectionBinding, type Now, type TurnClient } from "@turnpike/turn";
import { failureError, reasonOf } from "./errors.ts";
import type { ServerCandidate } from "./resolve.ts";
import { connectStream } from "./transports/connect-stream.ts";
import type { OpenTransportOptions } from "./transports/transport.ts";

/**
 * Opens a connection to the server and binds it to a peer's (RFC 6062 §4.3). What comes out is the peer's bytes and
 * nothing else.
 */
export async function openDataConnection(options: {
  readonly client: TurnClient;
  readonly connectionId: number;
  /** The server that the control connection reaches. */
  readonly candidate: ServerCandidate;
  readonly transport: OpenTransportOptions;
  readonly signal?: AbortSignal | undefined;
}): Promise<Duplex> {
  const { client, connectionId, candidate, signal } = options;
  const { stream } = await connectStream(candidate, {
    ...options.transport,
    ...(signal === undefined ? {} : { signal }),
  });
  const now = (): Now => ({ monotonicMs: performance.now(), unixMs: Date.now() });
  const random = (length: number): Uint8Array => randomBytes(length);
  const binding = new ConnectionBinding({ client, connectionId, crypto: nodeCrypto, random }, now());
  let timer: NodeJS.Timeout | undefined;
  let stop = (): void => undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      const proceed = (): void => {
        for (let bytes = binding.pollOutput(); bytes !== undefined; bytes = binding.pollOutput()) stream.write(bytes);
        const { state } = binding;
        if (state.kind === "bound") resolve();
        else if (state.kind === "failed") reject(failureError("bind the connection to the peer", state.failure));
      };
      const abort = (): void => reject(reasonOf(signal!));
      const closed = (): void => {
        binding.handleClosed(now());
        proceed();
      };
      timer = setTimeout(
        () => {
          binding.handleTimeout(now());
          proceed();
        },
        Math.ceil((binding.pollTimeout() ?? 0) - performance.now()),
      );
      const received = (chunk: Uint8Array): void => {
        const rest = binding.handleBytes(chunk, now());
        if (binding.state.kind === "bound") {
          // From here on the stream is the application's.
          stream.removeListener("data", received);
          stream.pause();
          if (rest.length > 0) stream.unshift(rest);
        }
        proceed();
      };
      stop = () => {
        clearTimeout(timer);
        stream.removeListener("data", received);
        stream.removeListener("error", reject);
        stream.removeListener("close", closed);
        signal?.removeEventListener("abort", abort);
      };
      stream.on("data", received);
      stream.on("error", reject);
      stream.on("close", closed);
      signal?.addEventListener("abort", abort, { once: true });
      proceed();
      if (signal?.aborted === true) abort();
    });
  } catch (error) {
    stream.on("error", () => undefined);
    stream.destroy();
    throw error;
  } finally {
    stop();
  }
  // An error that comes before its reader does is seen by the reader.
  const ignore = (): void => undefined;
  stream.on("error", ignore);
  setImmediate(() => stream.removeListener("error", ignore));
  return stream;
}
