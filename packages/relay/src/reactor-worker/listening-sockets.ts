import type { TransportAddress } from "@turnpike/stun";
import { Arena } from "../libc/arena.ts";
import { describeErrno, type Libc, SystemCallError } from "../libc/libc.ts";
import { SocketFactory } from "../libc/sockets.ts";
import { openFailure } from "../planes/batched/open-failure.ts";
import type { Opened } from "../planes/plane.ts";

/** What {@link ListeningSockets} are made with. */
export interface ListeningSocketsOptions {
  readonly libc: Libc;
  /** How many reactors have a share each. */
  readonly threads: number;
  /** Another reactor may adopt some of the clients, even if there is but one share. */
  readonly isShared: boolean;
  /** Size of each socket's kernel buffers. */
  readonly bufferBytes?: number | undefined;
}

/** One socket for each listener and reactor, on one port: the kernel spreads clients over them (SO_REUSEPORT). */
export class ListeningSockets {
  /** Of each reactor: its sockets in the order of the listeners. */
  readonly shares: readonly number[][];
  readonly #libc: Libc;
  readonly #factory: SocketFactory;
  readonly #bufferBytes: number | undefined;
  readonly #isShared: boolean;

  constructor(options: ListeningSocketsOptions) {
    this.#isShared = options.isShared || options.threads > 1;
    this.#libc = options.libc;
    this.#factory = new SocketFactory(options.libc, new Arena(options.libc, SocketFactory.SCRATCH));
    this.#bufferBytes = options.bufferBytes;
    this.shares = Array.from({ length: options.threads }, () => []);
  }

  openListener(listener: number, local: TransportAddress, done: (opened: Opened) => void): void {
    const fds: number[] = [];
    const opened = this.#tryOpen(() => {
      // Sockets that share a port would let another program of this user's have it too: alone, one would not.
      let bound = this.#isShared ? this.#probe(local) : local;
      for (const _share of this.shares) {
        const bufferBytes = this.#bufferBytes;
        const socket = this.#factory.open({
          local: bound,
          // Alone, nobody shall be able to take a part of the clients.
          reusePort: this.#isShared,
          ...(bufferBytes !== undefined && { bufferBytes }),
        });
        fds.push(socket.fd);
        bound = socket.local;
      }
      return { kind: "opened", socket: listener, local: bound };
    });
    for (const [index, fd] of fds.entries()) {
      const share = this.shares[index];
      if (opened.kind === "opened" && share !== undefined) share[listener] = fd;
      else this.#libc.close(fd);
    }
    done(opened);
  }

  /** Binds an address as nobody else may have it, and lets it go. Returns it with the port that was found. */
  #probe(address: TransportAddress): TransportAddress {
    const { fd, local } = this.#factory.open({ local: address });
    this.#libc.close(fd);
    return local;
  }

  openRelaySocket(local: TransportAddress, done: (opened: Opened) => void): void {
    done(
      this.#tryOpen(() => {
        const { fd, local: bound } = this.#factory.open({ local });
        return { kind: "opened", socket: fd, local: bound };
      }),
    );
  }

  closeRelaySocket(fd: number, done: () => void): void {
    this.#libc.close(fd);
    done();
  }

  #tryOpen(open: () => Opened): Opened {
    try {
      return open();
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      const code = describeErrno(error.errno).split(" ")[0] ?? "";
      return { kind: "failed", failure: openFailure(error.errno), code };
    }
  }

  close(): void {
    for (const fd of this.shares.flat()) this.#libc.close(fd);
    for (const share of this.shares) share.length = 0;
  }
}
