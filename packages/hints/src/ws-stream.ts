import { Duplex } from "node:stream";
import type { RawData, WebSocket } from "ws";

/** Largest message that is taken from a WebSocket peer, in bytes. */
export const maximumMessageLength = 1_048_576;

/** No close frame came (RFC 6455 §7.1.5). */
const abnormalClosure = 1006;

/** Most bytes that one message of ours carries. */
const messageLength = 65_536;

/**
 * An open WebSocket as a stream of bytes. Each write is one binary message or several. The end of one direction is an
 * empty message, because closing a WebSocket ends both; when both have ended, the socket is closed. A close by the peer
 * ends the readable side; a connection that breaks without one is an error.
 */
export class WebSocketStream extends Duplex {
  readonly #socket: WebSocket;
  #readEnded = false;
  #writeEnded = false;

  constructor(socket: WebSocket) {
    super({ allowHalfOpen: true, autoDestroy: true });
    this.#socket = socket;
    socket.on("message", (data: RawData) => this.#receive(data));
    socket.on("close", (code) => {
      if (code === abnormalClosure && !this.#readEnded) {
        this.destroy(new Error("The WebSocket was cut off before the peer ended it"));
        return;
      }
      this.#endReading();
      this.#writeEnded = true;
      // What was read stays readable; writing fails from here on.
      if (!this.writableEnded) this.end();
    });
    socket.on("error", (error: Error) => this.destroy(error));
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (this.#socket.readyState !== this.#socket.OPEN) {
      done(new Error("The WebSocket is closed"));
      return;
    }
    let sent = 0;
    const next = (error?: Error | null): void => {
      if (error !== undefined && error !== null) done(error);
      else if (sent >= chunk.length) done();
      else {
        const part = chunk.subarray(sent, sent + messageLength);
        sent += part.length;
        this.#socket.send(part, { binary: true }, next);
      }
    };
    next();
  }

  override _final(done: (error?: Error | null) => void): void {
    if (this.#writeEnded || this.#socket.readyState !== this.#socket.OPEN) {
      done();
      return;
    }
    this.#writeEnded = true;
    this.#socket.send(new Uint8Array(0), { binary: true }, (error) => {
      if (this.#readEnded) this.#socket.close(1000);
      done(error ?? null);
    });
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (this.#readEnded && this.#writeEnded) this.#socket.close(1000);
    else this.#socket.terminate();
    done(error);
  }

  #receive(data: RawData): void {
    if (this.#readEnded) return;
    const bytes = Array.isArray(data) ? Buffer.concat(data) : Buffer.isBuffer(data) ? data : Buffer.from(data);
    if (bytes.length === 0) {
      this.#endReading();
      if (this.#writeEnded) this.#socket.close(1000);
    } else if (!this.push(bytes)) {
      this.#socket.pause();
    }
  }

  #endReading(): void {
    if (this.#readEnded) return;
    this.#readEnded = true;
    this.push(null);
  }
}
