import { lookup } from "node:dns/promises";
import { connect } from "node:net";
import type { Duplex } from "node:stream";
import { abortable, reasonOf } from "./clock.ts";

/** Where a stream can be opened to. Never a name: names are resolved first, so that what was checked is what is dialled. */
export type DialTarget =
  | { readonly kind: "tcp"; readonly address: string; readonly port: number }
  | { readonly kind: "unix"; readonly path: string };

/** Opens streams. The one place that touches the network; give another to test or to forbid. */
export interface Dialer {
  /** Resolves when the stream is open. An abort closes it and rejects. */
  dial(target: DialTarget, options: { readonly signal: AbortSignal }): Promise<Duplex>;
}

/** Turns names into addresses, one family at a time (RFC 8305 §3 needs both answers as they come). */
export interface Resolver {
  /** The addresses of a name, best first. Rejects if there is none. */
  resolve(name: string, options: { readonly family: 4 | 6; readonly signal: AbortSignal }): Promise<readonly string[]>;
}

/** Opens streams with the operating system's sockets. */
export const nodeDialer: Dialer = {
  dial(target, { signal }) {
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(reasonOf(signal));
        return;
      }
      const socket =
        target.kind === "unix"
          ? connect({ path: target.path, allowHalfOpen: true })
          : connect({
              host: target.address,
              port: target.port,
              allowHalfOpen: true,
              noDelay: true,
              autoSelectFamily: false,
            });
      const onAbort = (): void => {
        socket.destroy();
        reject(reasonOf(signal));
      };
      signal.addEventListener("abort", onAbort, { once: true });
      socket.once("error", (error) => {
        signal.removeEventListener("abort", onAbort);
        reject(error);
      });
      socket.once("connect", () => {
        signal.removeEventListener("abort", onAbort);
        resolve(guardStream(socket));
      });
    });
  },
};

/**
 * Keeps an error of a stream that nobody listens to yet from ending the process: it is handed on before its next owner
 * can listen. The error still destroys the stream, which every owner sees.
 */
export function guardStream<Stream extends Duplex>(stream: Stream): Stream {
  stream.on("error", () => undefined);
  return stream;
}

/** Resolves names as the operating system does (hosts file, then DNS). */
export const systemResolver: Resolver = {
  async resolve(name, { family, signal }) {
    const answers = await abortable(lookup(name, { family, all: true }), signal);
    return answers.map((answer) => answer.address);
  },
};
