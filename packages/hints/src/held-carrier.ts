import { Duplex } from "node:stream";

/**
 * A stream that carries TLS and stays open until TLS has ended both ways. Tor, TURN and some proxies end both directions
 * when one ends; TLS says the end of one direction itself (close_notify), so the carrier need not.
 */
export class HeldCarrier extends Duplex {
  readonly #carrier: Duplex;
  /** The peer has said by TLS that it sends nothing more. */
  #saidEnd = false;
  /** What TLS wrote and the carrier has not taken yet. */
  #writing = 0;

  constructor(carrier: Duplex) {
    super({ allowHalfOpen: true });
    this.#carrier = carrier;
    this.on("error", () => undefined);
    carrier.on("data", (chunk: Buffer) => {
      if (!this.push(chunk)) carrier.pause();
    });
    carrier.on("end", () => this.push(null));
    carrier.on("error", (error) => this.#lose(error));
    carrier.on("close", () => {
      if (!carrier.readableEnded) this.#lose(new Error("The connection was closed"));
    });
  }

  /**
   * Watches the TLS that is spoken on this carrier. If the carrier ends before TLS has said so, somebody cut it: that is
   * an error, or whoever can cut a connection could pass off half a file as the whole (RFC 8446 §6.1). To be called
   * before any byte has come.
   */
  watch(tls: Duplex): void {
    const push = tls.push.bind(tls);
    tls.push = (chunk: unknown, encoding?: BufferEncoding) => {
      if (chunk === null) this.#saidEnd = true;
      return push(chunk, encoding);
    };
    // Node does not hand the error of a carrier that is no socket of its own on to TLS.
    this.once("error", (error) => tls.destroy(error));
    this.prependListener("end", () => {
      if (!this.#saidEnd) tls.destroy(new Error("The connection was cut off before the peer ended it"));
    });
  }

  override _read(): void {
    this.#carrier.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#writing += 1;
    this.#carrier.write(chunk, (error) => {
      this.#writing -= 1;
      done(error);
    });
  }

  /**
   * The carrier is no more. Once TLS has ended both ways that is how it goes: relays without half-close reset one side
   * when the other leaves. What the peer sent and nobody has read yet stays readable.
   */
  #lose(error: Error): void {
    if (this.#saidEnd && this.writableEnded && this.#writing === 0) return;
    this.destroy(error);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    const carrier = this.#carrier;
    if (error !== null || carrier.writableEnded || carrier.destroyed) carrier.destroy();
    else carrier.end(() => carrier.destroy());
    done(error);
  }
}
