/** What a socket of the table is for. */
export const SocketRole = { free: 0, listener: 1, relay: 2 } as const;
export type SocketRole = (typeof SocketRole)[keyof typeof SocketRole];

const FIRST_CAPACITY = 64;
/** No segment is larger: every aggregate may be tried. */
const ANY_SEGMENT = 0xffff;

/** After so many visits that found one packet, one is expected; after so many more, it is looked again. */
const SURE = 2;
const LOOK_AGAIN = 7;

/** The sockets of a plane by index, one typed array for each thing known of them. */
export class SocketTable {
  fds: Int32Array = new Int32Array(FIRST_CAPACITY).fill(-1);
  roles: Uint8Array = new Uint8Array(FIRST_CAPACITY);
  /** 1: IPv6. */
  ipv6: Uint8Array = new Uint8Array(FIRST_CAPACITY);
  /** Of listeners: the listener's id. */
  listeners: Int32Array = new Int32Array(FIRST_CAPACITY);
  /** Aggregates with segments larger than this are not tried. */
  segmentLimits: Int32Array = new Int32Array(FIRST_CAPACITY);
  /** 1: the socket receives aggregates (UDP_GRO). */
  aggregating: Uint8Array = new Uint8Array(FIRST_CAPACITY);
  /** Of relay sockets: visits in a row that found one packet at most; see {@link SocketTable.isSingle}. */
  singles: Uint8Array = new Uint8Array(FIRST_CAPACITY);
  /** Packets seen in batches, and how many of them could have been joined to the one before. */
  observed: Int32Array = new Int32Array(FIRST_CAPACITY);
  joinable: Int32Array = new Int32Array(FIRST_CAPACITY);
  /** The kernel's count of drops, as last seen: an unsigned 32-bit counter. */
  drops: Float64Array = new Float64Array(FIRST_CAPACITY);
  readonly #free: number[] = [];
  #end = 0;
  #onGrow: (capacity: number) => void = () => {};

  /** Calls `onGrow` with each new capacity. */
  watchGrowth(onGrow: (capacity: number) => void): void {
    this.#onGrow = onGrow;
  }

  get capacity(): number {
    return this.fds.length;
  }

  /** One more than the highest index in use, ever. */
  get end(): number {
    return this.#end;
  }

  add(fd: number, role: SocketRole, ipv6: boolean, listener: number): number {
    const index = this.#free.pop() ?? this.#end++;
    if (index === this.capacity) this.#grow();
    this.fds[index] = fd;
    this.roles[index] = role;
    this.ipv6[index] = ipv6 ? 1 : 0;
    this.listeners[index] = listener;
    this.segmentLimits[index] = ANY_SEGMENT;
    this.aggregating[index] = 0;
    this.singles[index] = 0;
    this.observed[index] = 0;
    this.joinable[index] = 0;
    this.drops[index] = 0;
    return index;
  }

  /**
   * Whether a socket is expected to hold one packet: looking for a second one costs as much as half a packet. Every
   * eighth time it is looked for all the same.
   */
  isSingle(index: number): boolean {
    const singles = this.singles[index] ?? 0;
    return singles >= SURE && singles < SURE + LOOK_AGAIN;
  }

  /** Notes how many packets a visit found. */
  noteVisit(index: number, received: number): void {
    const singles = this.singles[index] ?? 0;
    this.singles[index] = received > 1 ? 0 : singles < SURE + LOOK_AGAIN ? singles + 1 : SURE;
  }

  remove(index: number): void {
    this.fds[index] = -1;
    this.roles[index] = SocketRole.free;
    this.#free.push(index);
  }

  #grow(): void {
    const capacity = this.capacity * 2;
    this.fds = larger(this.fds, new Int32Array(capacity).fill(-1));
    this.roles = larger(this.roles, new Uint8Array(capacity));
    this.ipv6 = larger(this.ipv6, new Uint8Array(capacity));
    this.listeners = larger(this.listeners, new Int32Array(capacity));
    this.segmentLimits = larger(this.segmentLimits, new Int32Array(capacity));
    this.aggregating = larger(this.aggregating, new Uint8Array(capacity));
    this.singles = larger(this.singles, new Uint8Array(capacity));
    this.observed = larger(this.observed, new Int32Array(capacity));
    this.joinable = larger(this.joinable, new Int32Array(capacity));
    this.drops = larger(this.drops, new Float64Array(capacity));
    this.#onGrow(capacity);
  }
}

function larger<Table extends Float64Array | Int32Array | Uint8Array>(from: Table, into: Table): Table {
  into.set(from);
  return into;
}
