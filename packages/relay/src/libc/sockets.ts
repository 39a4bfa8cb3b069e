import { AddressRegister, type TransportAddress } from "@turnpike/stun";
import type { Arena } from "./arena.ts";
import * as L from "./layout.ts";
import { type Libc, SystemCallError } from "./libc.ts";
import { readSocketAddress, SOCKADDR_SPACE, writeSocketAddress } from "./socket-address.ts";

/** How a UDP socket is opened. */
export interface UdpSocketOptions {
  readonly local: TransportAddress;
  /** Connects the socket: only packets of this remote address arrive, and before any unconnected socket's. */
  readonly remote?: TransportAddress;
  /** True: several sockets share the address, and the kernel spreads clients over them. Default false. */
  readonly reusePort?: boolean;
  /** Size of the kernel's receive and send buffers, each. Default 4 MiB; limited by rmem_max without CAP_NET_ADMIN. */
  readonly bufferBytes?: number;
}

/** An open UDP socket. */
export interface UdpSocket {
  readonly fd: number;
  /** What it is bound to, the port that the kernel chose included. */
  readonly local: TransportAddress;
}

/** For any option that is read or written. */
const VALUE_SPACE = 64;
const DEFAULT_BUFFER_BYTES = 4 << 20;

/** Opens, configures and binds UDP sockets. Cold path: one scratch area, errors are thrown. */
export class SocketFactory {
  readonly #libc: Libc;
  readonly #arena: Arena;
  readonly #address: number;
  readonly #value: number;

  /** `arena` lends {@link SocketFactory.SCRATCH} bytes. */
  constructor(libc: Libc, arena: Arena) {
    this.#libc = libc;
    this.#arena = arena;
    this.#address = arena.reserve(SOCKADDR_SPACE);
    this.#value = arena.reserve(VALUE_SPACE);
  }

  static readonly SCRATCH: number = 128;

  /**
   * Packets that the kernel dropped since the socket was opened, its buffer being full: an unsigned 32-bit counter. It
   * is asked for, since the control message that tells it (SO_RXQ_OVFL) costs each packet 2 % of its way.
   */
  drops(fd: number): number {
    const { address, words } = this.#arena;
    words[this.#address >> 2] = L.MEMINFO_SIZE;
    const failed = this.#libc.getsockopt(
      fd,
      L.SOL_SOCKET,
      L.SO_MEMINFO,
      address + this.#value,
      address + this.#address,
    );
    return failed < 0 ? 0 : (words[(this.#value + L.MEMINFO_DROPS) >> 2] ?? 0) >>> 0;
  }

  /**
   * A non-blocking UDP socket on `local`, without the DF bit, with ICMP errors queued.
   * @throws {SystemCallError} what can't be opened or bound; nothing is left open.
   */
  open(options: UdpSocketOptions): UdpSocket {
    const libc = this.#libc;
    const ipv6 = options.local.family === 6;
    const type = L.SOCK_DGRAM | L.SOCK_NONBLOCK | L.SOCK_CLOEXEC;
    const fd = libc.socket(ipv6 ? L.AF_INET6 : L.AF_INET, type, 0);
    if (fd < 0) throw new SystemCallError("socket", libc.errno(), `a UDP socket of family IPv${options.local.family}`);
    try {
      if (options.reusePort === true) this.set(fd, L.SOL_SOCKET, L.SO_REUSEPORT, 1);
      this.#setBuffers(fd, options.bufferBytes ?? DEFAULT_BUFFER_BYTES);
      if (ipv6) {
        this.set(fd, L.IPPROTO_IPV6, L.IPV6_V6ONLY, 1);
        this.set(fd, L.IPPROTO_IPV6, L.IPV6_RECVERR, 1);
        this.set(fd, L.IPPROTO_IPV6, L.IPV6_MTU_DISCOVER, L.PMTUDISC_DONT);
      } else {
        this.set(fd, L.IPPROTO_IP, L.IP_RECVERR, 1);
        this.set(fd, L.IPPROTO_IP, L.IP_MTU_DISCOVER, L.PMTUDISC_DONT);
      }
      const length = writeSocketAddress(this.#arena.words, this.#address, options.local);
      this.#must(libc.bind(fd, this.#arena.address + this.#address, length), "bind", portOf(options.local));
      if (options.remote !== undefined) {
        const remoteLength = writeSocketAddress(this.#arena.words, this.#address, options.remote);
        this.#must(
          libc.connect(fd, this.#arena.address + this.#address, remoteLength),
          "connect",
          portOf(options.local),
        );
      }
      const { local, remote } = options;
      // What was asked for is what it has, unless the kernel chose something of it.
      return { fd, local: local.port === 0 || remote !== undefined ? this.localAddress(fd) : local };
    } catch (error) {
      libc.close(fd);
      throw error;
    }
  }

  /** What `fd` is bound to. */
  localAddress(fd: number): TransportAddress {
    const { address, words } = this.#arena;
    words[this.#value >> 2] = SOCKADDR_SPACE;
    this.#must(
      this.#libc.getsockname(fd, address + this.#address, address + this.#value),
      "getsockname",
      `socket ${fd}`,
    );
    const local = new AddressRegister();
    readSocketAddress(words, this.#address, local);
    return local;
  }

  /** Sets a socket option that is an `int`. @throws {SystemCallError} */
  set(fd: number, level: number, name: number, value: number): void {
    this.#must(this.trySet(fd, level, name, value), "setsockopt", `option ${level}/${name}`);
  }

  /** Sets a socket option that is an `int`; −1 if the kernel refuses. */
  trySet(fd: number, level: number, name: number, value: number): number {
    this.#arena.words[this.#value >> 2] = value;
    return this.#libc.setsockopt(fd, level, name, this.#arena.address + this.#value, 4);
  }

  /** Reads a socket option that is an `int`. @throws {SystemCallError} */
  get(fd: number, level: number, name: number): number {
    const { address, words } = this.#arena;
    words[this.#value >> 2] = 4;
    const value = this.#address;
    this.#must(this.#libc.getsockopt(fd, level, name, address + value, address + this.#value), "getsockopt", `${name}`);
    return words[value >> 2] ?? 0;
  }

  /** FORCE passes the system's limit, but asks CAP_NET_ADMIN; without it the limit is what we get. */
  #setBuffers(fd: number, bytes: number): void {
    if (this.trySet(fd, L.SOL_SOCKET, L.SO_RCVBUFFORCE, bytes) < 0) this.set(fd, L.SOL_SOCKET, L.SO_RCVBUF, bytes);
    if (this.trySet(fd, L.SOL_SOCKET, L.SO_SNDBUFFORCE, bytes) < 0) this.set(fd, L.SOL_SOCKET, L.SO_SNDBUF, bytes);
  }

  #must(result: number, call: string, what: string): void {
    if (result < 0) throw new SystemCallError(call, this.#libc.errno(), what);
  }
}

function portOf(local: TransportAddress): string {
  return `a UDP socket on IPv${local.family} port ${local.port}`;
}
