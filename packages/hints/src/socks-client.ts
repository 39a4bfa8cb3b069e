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
  const onAbort = (): void => handshake.fail(reasonOf(signal));
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    const client = new SocksClient({
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
    await handshake.run(client);
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
 * What the library sees in place of the stream. The library lets bytes flow before anyone listens for them; here reading
 * stops with the chunk that ends the handshake, and what came with it goes back into the stream, so that a peer that
 * speaks first loses nothing.
 */
class Handshake extends Duplex {
  readonly #stream: Duplex;
  readonly #outcome: PromiseWithResolvers<void> = Promise.withResolvers();
  #lastReply: Uint8Array = new Uint8Array(0);
  #done = false;
  // In a turn of its own: the library is not ready for an answer while it still writes the question.
  readonly #onReadable = (): void => queueMicrotask(() => this.#read());
  readonly #onError = (error: Error): void => this.fail(error);
  readonly #onClose = (): void => this.fail(new SocksError("the proxy closed the connection"));

  constructor(stream: Duplex) {
    super();
    this.on("error", () => undefined);
    this.#stream = stream;
    stream.on("readable", this.#onReadable);
    stream.on("error", this.#onError);
    stream.on("close", this.#onClose);
    stream.on("end", this.#onClose);
  }

  override _read(): void {
    // Handed over as it comes: a handshake is a few dozen bytes.
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#stream.write(chunk, done);
  }

  /** Lets the library speak, and gives the stream back with whatever came after the proxy's answer. */
  async run(client: SocksClient): Promise<void> {
    client.once("established", () => {
      this.#detach();
      this.#outcome.resolve();
    });
    client.once("error", (error) => {
      this.#detach();
      this.#outcome.reject(error);
    });
    client.connect(this);
    await this.#outcome.promise;
    const excess: Buffer[] = [];
    this.on("data", (chunk: Buffer) => excess.push(chunk));
    // The library hands over its excess in the next turn of the event loop.
    await new Promise((resolve) => setImmediate(resolve));
    if (excess.length > 0) this.#stream.unshift(Buffer.concat(excess));
  }

  /** Ends the handshake. */
  fail(error: Error): void {
    this.#detach();
    this.#outcome.reject(error);
  }

  /** The library's errors carry the proxy's password: only words leave here. */
  explain(error: unknown): SocksError {
    const reply = this.#lastReply[0] === 5 && this.#lastReply.length >= 4 ? this.#lastReply[1] : undefined;
    if (reply !== undefined && reply !== 0) {
      return new SocksError(replies.get(reply) ?? `the proxy refused with code ${reply}`, reply);
    }
    return new SocksError(error instanceof Error ? error.message : "the proxy's answer could not be read");
  }

  #read(): void {
    while (!this.#done) {
      const chunk: unknown = this.#stream.read();
      if (!Buffer.isBuffer(chunk)) return;
      this.#lastReply = chunk;
      this.emit("data", chunk);
    }
  }

  #detach(): void {
    this.#done = true;
    this.#stream.off("readable", this.#onReadable);
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
