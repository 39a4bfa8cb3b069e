import { Duplex } from "node:stream";
import { SocksClient } from "socks";
import { reasonOf } from "./clock.ts";
import { guardStream } from "./network.ts";

/** A SOCKS proxy refused, or is not one. */
export class SocksError extends Error {
  override readonly name = "SocksError";
  /** The reply code of RFC 1928 §6 or of Tor (0xF0–0xF7); absent if there was none. */
  readonly reply: number | undefined;

  constructor(message: string, reply?: number) {
    super(message);
    this.reply = reply;
  }
}

/** What the proxy is asked for. */
export interface SocksRequest {
  /** A name or a literal address. */
  readonly host: string;
  readonly port: number;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  readonly signal: AbortSignal;
}

/** Asks the SOCKS5 proxy (RFC 1928, RFC 1929) at the other end of `stream` for a connection, and gives that. */
export async function socksConnect(stream: Duplex, request: SocksRequest): Promise<Duplex> {
  const { host, port, username, password, signal } = request;
  if (signal.aborted) {
    stream.destroy();
    throw reasonOf(signal);
  }
  const handshake = new Handshake(guardStream(stream));
  const onAbort = (): void => {
    handshake.destroy(reasonOf(signal));
  };
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    await SocksClient.createConnection({
      command: "connect",
      destination: { host, port },
      proxy: {
        host: "127.0.0.1",
        port: 1,
        type: 5,
        ...(username === undefined ? {} : { userId: username }),
        ...(password === undefined ? {} : { password }),
      },
      existing_socket: handshake,
      // The signal is what ends a handshake; the library's own timer is only kept from ending it sooner.
      timeout: 120_000,
    });
    await handshake.release();
    return stream;
  } catch (error) {
    stream.destroy();
    if (signal.aborted) throw reasonOf(signal);
    throw handshake.explain(error);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

/**
 * What the library sees in place of the stream. It lets bytes flow before anyone listens for them when it is done; here
 * they are put back into the stream, so that a peer that speaks first loses nothing.
 */
class Handshake extends Duplex {
  readonly #stream: Duplex;
  #lastReply: Uint8Array = new Uint8Array(0);
  #failure: Error | undefined;
  readonly #onData = (chunk: Buffer): void => {
    this.#lastReply = chunk;
    this.push(chunk);
  };
  readonly #onError = (error: Error): void => {
    this.destroy(error);
  };
  readonly #onClose = (): void => {
    this.destroy(new Error("the proxy closed the connection"));
  };

  constructor(stream: Duplex) {
    super();
    this.#stream = stream;
    this.on("error", () => undefined);
    stream.on("data", this.#onData);
    stream.on("error", this.#onError);
    stream.on("close", this.#onClose);
    stream.on("end", this.#onClose);
  }

  override _read(): void {
    // Pushed as it comes: a handshake is a few dozen bytes.
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#stream.write(chunk, done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#failure ??= error ?? undefined;
    this.#detach();
    done(error);
  }

  /** Gives the stream back, with whatever came after the proxy's answer. */
  async release(): Promise<void> {
    this.#stream.pause();
    this.#detach();
    const excess: Buffer[] = [];
    this.on("data", (chunk: Buffer) => excess.push(chunk));
    // The library hands over its excess in the next turn; what this stream still holds follows.
    await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setImmediate(resolve));
    if (excess.length > 0) this.#stream.unshift(Buffer.concat(excess));
  }

  /** The library's errors carry the proxy's password: only words leave here. */
  explain(error: unknown): SocksError {
    const reply = this.#lastReply[0] === 5 && this.#lastReply.length >= 4 ? this.#lastReply[1] : undefined;
    if (reply !== undefined && reply !== 0) {
      return new SocksError(replies.get(reply) ?? `the proxy refused with code ${reply}`, reply);
    }
    if (this.#failure !== undefined) return new SocksError(this.#failure.message);
    return new SocksError(error instanceof Error ? error.message : "the proxy's answer could not be read");
  }

  #detach(): void {
    this.#stream.off("data", this.#onData);
    this.#stream.off("error", this.#onError);
    this.#stream.off("close", this.#onClose);
    this.#stream.off("end", this.#onClose);
  }
}

/** RFC 1928 §6, and Tor's extended codes (proposal 304). */
const replies: ReadonlyMap<number, string> = new Map([
  [1, "the proxy reports a general failure"],
  [2, "the proxy's rules do not allow the connection"],
  [3, "the proxy says that the network is unreachable"],
  [4, "the proxy says that the host is unreachable"],
  [5, "the proxy says that the connection was refused"],
  [6, "the proxy says that the connection timed out"],
  [7, "the proxy does not support the command"],
  [8, "the proxy does not support this kind of address"],
  [0xf0, "Tor cannot find the onion service's descriptor"],
  [0xf1, "Tor found an invalid descriptor of the onion service"],
  [0xf2, "Tor could not introduce itself to the onion service"],
  [0xf3, "Tor's rendezvous with the onion service failed"],
  [0xf4, "the onion service wants client authorization"],
  [0xf5, "the onion service refused the client authorization"],
  [0xf6, "Tor says that the onion address is invalid"],
  [0xf7, "Tor's introduction to the onion service timed out"],
]);
