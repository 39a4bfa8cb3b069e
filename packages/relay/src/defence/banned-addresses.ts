import { addressPrefix, type BanSubject, type PenaltyBox } from "@turnpike/authn/penalties";
import { type IpAddress, parseIpAddress } from "@turnpike/stun";

/** Bans that have ended may leave so many numbers behind before they are swept out. */
const SPARE = 64;

/**
 * Whether an address is banned, told of each packet's: for those who aren't, nothing is allocated. A number of each
 * banned prefix rules nearly all others out; the list of bans has the last word.
 */
export class BannedAddresses {
  readonly #bans: PenaltyBox["bans"];
  readonly #numbers = new Set<number>();

  constructor(bans: PenaltyBox["bans"]) {
    this.#bans = bans;
  }

  /** To be told of each ban that is added to the list. */
  note(subject: BanSubject): void {
    if (this.#numbers.size > this.#bans.size + SPARE) {
      this.#numbers.clear();
      for (const ban of this.#bans.list(Number.NEGATIVE_INFINITY)) this.#add(ban.subject);
    }
    this.#add(subject);
  }

  has(client: IpAddress, nowMs: number): boolean {
    if (this.#numbers.size === 0 || !this.#numbers.has(numberOf(client))) return false;
    return this.#bans.hasPrefix(addressPrefix(client), nowMs);
  }

  #add(subject: BanSubject): void {
    if (subject.kind !== "prefix") return;
    const address = parseIpAddress(subject.prefix.split("/", 1)[0] ?? "");
    if (address !== undefined) this.#numbers.add(numberOf(address));
  }
}

/** Equal for all addresses of a prefix, and for an IPv4 address in whatever form. */
function numberOf({ family, w0, w1, w2, w3 }: IpAddress): number {
  const isIpv4 = family === 4 || (w0 === 0 && w1 === 0 && w2 === 0xffff);
  return isIpv4 ? w3 | 0 : Math.imul(w0, 0x85ebca6b) ^ w1;
}
