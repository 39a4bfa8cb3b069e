/**
 * An IP address as four signed 32-bit integers in network order, so that look-ups need neither strings nor
 * arrays. IPv4 stands in the last word, behind `0, 0, 0x0000ffff` (the IPv4-mapped form of RFC 4291 §2.5.5.2);
 * `family` tells a real IPv4 address from an IPv4-mapped IPv6 address.
 */
export interface IpAddress {
  readonly family: 4 | 6;
  readonly w0: number;
  readonly w1: number;
  readonly w2: number;
  readonly w3: number;
}

/** An IP address and a port (0–65535): what RFC 8489 §3 calls a transport address. */
export interface TransportAddress extends IpAddress {
  readonly port: number;
}

/** A transport address that a data path fills again and again: a register, not a value. */
export class AddressRegister implements TransportAddress {
  family: 4 | 6 = 4;
  w0 = 0;
  w1 = 0;
  w2 = 0xffff;
  w3 = 0;
  port = 0;

  /** Copies `from` into this register. */
  set(from: TransportAddress): void {
    this.family = from.family;
    this.w0 = from.w0;
    this.w1 = from.w1;
    this.w2 = from.w2;
    this.w3 = from.w3;
    this.port = from.port;
  }
}
