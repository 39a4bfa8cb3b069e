import { type AddressRegister, formatIpAddress, type IpAddress, parseIpAddress } from "@turnpike/stun";

const ENTRIES = 4096;

/**
 * Turns the addresses of `node:dgram`, which are text, into registers and back. It remembers the latest 4,096 of each
 * direction, so that a packet of a known sender costs a look-up.
 */
export class AddressText {
  readonly #parsed = new Map<string, IpAddress>();
  /** Texts, each in the one place that its address hashes to. */
  readonly #texts: string[] = Array.from({ length: ENTRIES }, () => "");
  /** The addresses of `#texts`: family and four words each. */
  readonly #words = new Int32Array(ENTRIES * 5);

  /** Fills `into`. False, with `into` unchanged, if `text` is no address without a zone. */
  read(text: string, port: number, into: AddressRegister): boolean {
    let ip = this.#parsed.get(text);
    if (ip === undefined) {
      ip = parseIpAddress(text);
      if (ip === undefined) {
        return false;
      }
      this.#remember(text, ip);
    }
    into.family = ip.family;
    into.w0 = ip.w0;
    into.w1 = ip.w1;
    into.w2 = ip.w2;
    into.w3 = ip.w3;
    into.port = port;
    return true;
  }

  /** The text of an address. */
  write(ip: IpAddress): string {
    const hash = Math.imul(ip.w0 ^ Math.imul(ip.w1, 31) ^ Math.imul(ip.w2, 961) ^ Math.imul(ip.w3, 29_791), 0x9e3779b1);
    const entry = (hash >>> 16) & (ENTRIES - 1);
    const words = this.#words;
    const at = entry * 5;
    if (
      words[at + 4] === ip.w3 &&
      words[at] === ip.family &&
      words[at + 3] === ip.w2 &&
      words[at + 2] === ip.w1 &&
      words[at + 1] === ip.w0
    ) {
      return this.#texts[entry] ?? "";
    }
    const text = formatIpAddress(ip);
    words[at] = ip.family;
    words[at + 1] = ip.w0;
    words[at + 2] = ip.w1;
    words[at + 3] = ip.w2;
    words[at + 4] = ip.w3;
    this.#texts[entry] = text;
    return text;
  }

  /** How many texts are remembered in the receiving direction: at most 4,096. */
  get size(): number {
    return this.#parsed.size;
  }

  #remember(text: string, ip: IpAddress): void {
    if (this.#parsed.size >= ENTRIES) {
      const [oldest] = this.#parsed.keys();
      this.#parsed.delete(oldest ?? "");
    }
    this.#parsed.set(text, ip);
  }
}
