/** More packets than this between two ticks: the plane is busy, and what each packet costs matters. */
const BUSY_PACKETS = 5000;
/** Of so many ticks of a busy plane, one is spent looking. A power of two. */
const LOOK_EVERY = 8;
/** Ticks for which a socket that brought a marked packet is told of each one. */
const KEPT_TICKS = 100;

/**
 * Decides which sockets are told the class (DSCP, ECN) of each packet. The kernel's telling takes 4 to 5 % of a packet's
 * way, and nearly all packets have none. So a plane that isn't busy is told always; on a busy one, sockets where a marked
 * packet came lately are told always, and all others for one tick of eight.
 */
export class ClassWatch {
  readonly #tell: (socket: number, on: boolean) => void;
  /** Of each socket: whether it is told. */
  #told: Uint8Array = new Uint8Array(64);
  /** The tick until which it stays told. */
  #keptUntil: Int32Array = new Int32Array(64);
  #tick = 0;
  #isLooking = true;
  #packets = 0;

  /** `tell` makes the kernel tell the class of what `socket` receives from here on, or no longer do so. */
  constructor(tell: (socket: number, on: boolean) => void) {
    this.#tell = tell;
  }

  /** A socket was opened, and is told. */
  add(socket: number): void {
    if (socket >= this.#told.length) this.#grow(socket + 1);
    this.#told[socket] = 1;
    this.#keptUntil[socket] = this.#tick;
  }

  /** To be called ten times a second, with the number of packets that were ever received. */
  tick(packets: number): void {
    this.#tick = (this.#tick + 1) | 0;
    const isBusy = packets - this.#packets > BUSY_PACKETS;
    this.#packets = packets;
    this.#isLooking = !isBusy || this.#tick % LOOK_EVERY === 0;
  }

  /** To be called before `socket` is received from, and from time to time. */
  prepare(socket: number): void {
    const wanted = this.#isLooking || (this.#keptUntil[socket] ?? 0) - this.#tick > 0 ? 1 : 0;
    if (this.#told[socket] === wanted) return;
    this.#told[socket] = wanted;
    this.#tell(socket, wanted === 1);
  }

  /** A packet of `socket` was marked. */
  noteMarked(socket: number): void {
    this.#keptUntil[socket] = (this.#tick + KEPT_TICKS) | 0;
  }

  #grow(least: number): void {
    const capacity = Math.max(least, this.#told.length * 2);
    const told = new Uint8Array(capacity);
    const keptUntil = new Int32Array(capacity);
    told.set(this.#told);
    keptUntil.set(this.#keptUntil);
    this.#told = told;
    this.#keptUntil = keptUntil;
  }
}
