import type { TransportAddress } from "@turnpike/stun";
import { Arena } from "../libc/arena.ts";
import * as L from "../libc/layout.ts";
import { describeErrno, type Libc } from "../libc/libc.ts";
import { SOCKADDR_SPACE, writeSocketAddress } from "../libc/socket-address.ts";
import type { Opened } from "../planes/plane.ts";
import { openFailure } from "../planes/system-error.ts";

const SOCK_STREAM = 1;
/** Two areas, each on a cache line of its own. */
const SCRATCH_BYTES = 128;

/** A bound TCP socket, by its descriptor, or why there is none. */
export type BoundSocket = { readonly kind: "bound"; readonly fd: number } | Extract<Opened, { kind: "failed" }>;

/**
 * Binds TCP sockets that share one address: the listening socket of a relayed transport address, and those that connect
 * to peers from it (RFC 6062 §5.2). Node binds with SO_REUSEADDR alone, by which nothing can be bound beside a listening
 * socket; SO_REUSEPORT on both lets it.
 */
export class BoundSockets {
  readonly #libc: Libc;
  readonly #arena: Arena;
  readonly #address: number;
  readonly #value: number;

  constructor(libc: Libc) {
    this.#libc = libc;
    this.#arena = new Arena(libc, SCRATCH_BYTES);
    this.#address = this.#arena.reserve(SOCKADDR_SPACE);
    this.#value = this.#arena.reserve(SOCKADDR_SPACE);
  }

  /** For the listening socket: nobody else may have the port. Call {@link share} when it listens. */
  bindAlone(local: TransportAddress): BoundSocket {
    return this.#bind(local, false);
  }

  /** For a socket that connects from a port that listens. */
  bindShared(local: TransportAddress): BoundSocket {
    return this.#bind(local, true);
  }

  /** Lets sockets of this process be bound beside a listening one. False if the system refuses. */
  share(fd: number): boolean {
    return this.#set(fd, L.SOL_SOCKET, L.SO_REUSEPORT);
  }

  close(fd: number): void {
    this.#libc.close(fd);
  }

  #bind(local: TransportAddress, isShared: boolean): BoundSocket {
    const libc = this.#libc;
    const isV6 = local.family === 6;
    const fd = libc.socket(isV6 ? L.AF_INET6 : L.AF_INET, SOCK_STREAM | L.SOCK_NONBLOCK | L.SOCK_CLOEXEC, 0);
    if (fd < 0) return this.#failure();
    const isSet =
      this.#set(fd, L.SOL_SOCKET, L.SO_REUSEADDR) &&
      (!isShared || this.share(fd)) &&
      (!isV6 || this.#set(fd, L.IPPROTO_IPV6, L.IPV6_V6ONLY));
    const length = writeSocketAddress(this.#arena.words, this.#address, local);
    if (!isSet || libc.bind(fd, this.#arena.address + this.#address, length) < 0) {
      const failure = this.#failure();
      libc.close(fd);
      return failure;
    }
    return { kind: "bound", fd };
  }

  #set(fd: number, level: number, name: number): boolean {
    this.#arena.words[this.#value >> 2] = 1;
    return this.#libc.setsockopt(fd, level, name, this.#arena.address + this.#value, 4) >= 0;
  }

  #failure(): Extract<Opened, { kind: "failed" }> {
    const code = describeErrno(this.#libc.errno()).split(" ")[0] ?? "";
    return { kind: "failed", failure: openFailure(code), code };
  }
}
