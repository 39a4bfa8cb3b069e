import type { Clock } from "./clock.ts";
import type { HeldPort } from "./relay-sockets.ts";

/** Longer than any living reactor takes, shorter than a client's patience. */
const PATIENCE_MS = 2000;

/** What a reactor has asked others for: each claim is answered once, by the other reactor or by the clock. */
export class ReservationClaims {
  readonly #clock: Clock;
  readonly #waiting = new Map<
    number,
    { readonly done: (port: HeldPort | undefined) => void; readonly cancel: () => void }
  >();
  #last = 0;

  constructor(options: { readonly clock: Clock }) {
    this.#clock = options.clock;
  }

  /** Notes a claim. Returns its id, for {@link settle}. */
  add(done: (port: HeldPort | undefined) => void): number {
    const id = ++this.#last;
    const cancel = this.#clock.schedule(PATIENCE_MS, () => this.settle(id, undefined));
    this.#waiting.set(id, { done, cancel });
    return id;
  }

  /** Answers a claim. False if nobody waits for it any more: the port is the caller's to give back. */
  settle(id: number, port: HeldPort | undefined): boolean {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return false;
    this.#waiting.delete(id);
    waiting.cancel();
    waiting.done(port);
    return true;
  }
}
