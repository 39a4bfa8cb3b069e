import { loadSystem, type System } from "@turnpike/xdp";

/** What bpf(2) keeps, by its numbers: as `bpftool` sees programs, maps and links of the whole machine. */
export type BpfKind = "program" | "map" | "link";

/** Commands of bpf(2), by <linux/bpf.h>. */
const BY_ID: Readonly<Record<BpfKind, number>> = { program: 13, map: 14, link: 30 };
const [OBJECT_INFO, NEXT_LINK, DETACH_LINK] = [15, 31, 34];

export class BpfObjects {
  readonly #system: System = loadSystem();
  readonly #attributes = new Uint8Array(new ArrayBuffer(128));
  readonly #view = new DataView(this.#attributes.buffer);
  readonly #info = new Uint8Array(new ArrayBuffer(128));

  exists(kind: BpfKind, id: number): boolean {
    const descriptor = this.#call(BY_ID[kind], id);
    if (descriptor < 0) return false;
    this.#system.close(descriptor);
    return true;
  }

  /** The links that a program is attached by. */
  linksOf(program: number): readonly number[] {
    const found: number[] = [];
    for (let link = 0; this.#call(NEXT_LINK, link) >= 0;) {
      link = this.#view.getUint32(4, true);
      const descriptor = this.#call(BY_ID.link, link);
      if (descriptor < 0) continue;
      this.#call(OBJECT_INFO, descriptor, this.#info.length);
      // `struct bpf_link_info`: type, link, program.
      if (new DataView(this.#info.buffer).getUint32(8, true) === program) found.push(link);
      this.#system.close(descriptor);
    }
    return found;
  }

  /** Takes a link's program off, as `bpftool link detach` does. @throws Error */
  detach(link: number): void {
    const descriptor = this.#call(BY_ID.link, link);
    const done = descriptor >= 0 && this.#call(DETACH_LINK, descriptor) >= 0;
    if (!done) throw new Error(`Cannot detach the link ${link}: error ${this.#system.errno()}`);
    this.#system.close(descriptor);
  }

  /** 32-bit words at the front of the attributes; those of `OBJECT_INFO` end with where the answer goes. */
  #call(command: number, ...words: readonly number[]): number {
    this.#attributes.fill(0);
    for (const [index, word] of words.entries()) this.#view.setUint32(index * 4, word, true);
    if (command === OBJECT_INFO) this.#view.setBigUint64(8, this.#system.addressOf(this.#info), true);
    return this.#system.bpf(command, this.#attributes);
  }
}
