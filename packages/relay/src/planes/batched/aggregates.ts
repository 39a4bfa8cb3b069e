import type { Arena } from "../../libc/arena.ts";
import type { ReceiveRing } from "./receive-ring.ts";
import type { SocketTable } from "./socket-table.ts";

/** A socket receives aggregates from the moment that half of so many packets could have been joined. */
const OBSERVE_PACKETS = 128;
/** Bytes around an aggregate's packet that a receiver may overwrite. */
const KEPT_BEFORE = 48;
const KEPT_BEHIND = 4;
const KEPT_WORDS = (KEPT_BEFORE + KEPT_BEHIND) / 4;

/** Finds sockets whose traffic comes in runs of one size from one address: worth receiving as aggregates. */
export class AggregateObserver {
  readonly #words: Int32Array;
  readonly #ring: ReceiveRing;
  readonly #sockets: SocketTable;

  constructor(arena: Arena, ring: ReceiveRing, sockets: SocketTable) {
    this.#words = arena.words;
    this.#ring = ring;
    this.#sockets = sockets;
  }

  /** Looks at a batch of packets that came one by one. True: from here on, `socket` should receive aggregates. */
  observe(socket: number, first: number, received: number): boolean {
    const words = this.#words;
    const ring = this.#ring;
    const sockets = this.#sockets;
    let joinable = 0;
    for (let slot = first + 1; slot < first + received; slot++) {
      const a = ring.nameOffset(slot) >> 2;
      const b = ring.nameOffset(slot - 1) >> 2;
      if (words[a] === words[b] && words[a + 1] === words[b + 1] && ring.length(slot) === ring.length(slot - 1)) {
        joinable++;
      }
    }
    const observed = (sockets.observed[socket] ?? 0) + received;
    joinable += sockets.joinable[socket] ?? 0;
    const isEnough = observed >= OBSERVE_PACKETS;
    sockets.observed[socket] = isEnough ? 0 : observed;
    sockets.joinable[socket] = isEnough ? 0 : joinable;
    return isEnough && joinable * 2 >= observed;
  }
}

/** The bytes around a packet of an aggregate: its neighbours are packets too, and must be as they were. */
export class Surroundings {
  readonly #view: DataView;
  readonly #kept = new Int32Array(KEPT_WORDS);

  constructor(arena: Arena) {
    this.#view = arena.view;
  }

  keep(offset: number, length: number): void {
    const view = this.#view;
    const kept = this.#kept;
    for (let word = 0; word < KEPT_WORDS - 1; word++) kept[word] = view.getInt32(offset - KEPT_BEFORE + word * 4);
    kept[KEPT_WORDS - 1] = view.getInt32(offset + length);
  }

  putBack(offset: number, length: number): void {
    const view = this.#view;
    const kept = this.#kept;
    for (let word = 0; word < KEPT_WORDS - 1; word++) view.setInt32(offset - KEPT_BEFORE + word * 4, kept[word] ?? 0);
    view.setInt32(offset + length, kept[KEPT_WORDS - 1] ?? 0);
  }
}
