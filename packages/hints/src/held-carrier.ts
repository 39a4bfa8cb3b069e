import { Duplex } from "node:stream";

/**
 * A stream that carries TLS and stays open until TLS has ended both ways. Tor, TURN and some proxies end both directions
 * when one ends; TLS says the end of one direction itself (close_notify), so the carrier need not.
 */
export class HeldCarrier extends Duplex {
  readonly #carrier: Duplex;

  constructor(carrier: Duplex) {
    super({ allowHalfOpen: true });
    this.#carrier = carrier;
    this.on("error", () => undefined);
    carrier.on("data", (chunk: Buffer) => {
      if (!this.push(chunk)) carrier.pause();
    });
    carrier.on("end", () => this.push(null));
    carrier.on("error", (error) => this.destroy(error));
    carrier.on("close", () => {
      if (!carrier.readableEnded) this.destroy(new Error("The connection was closed"));
    });
  }

  override _read(): void {
    this.#carrier.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#carrier.write(chunk, done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    const carrier = this.#carrier;
    if (error !== null || carrier.writableEnded || carrier.destroyed) carrier.destroy();
    else carrier.end(() => carrier.destroy());
    done(error);
  }
}
