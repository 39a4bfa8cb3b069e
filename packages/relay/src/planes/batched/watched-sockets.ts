import type { TransportAddress } from "@turnpike/stun";
import type { Arena } from "../../libc/arena.ts";
import * as L from "../../libc/layout.ts";
import { describeErrno, type Libc, SystemCallError } from "../../libc/libc.ts";
import { SocketFactory } from "../../libc/sockets.ts";
import { PlaneCounter as Counter } from "../counters.ts";
import type { Opened } from "../plane.ts";
import { ClassWatch } from "./class-watch.ts";
import { openFailure } from "./open-failure.ts";
import { SocketRole, SocketTable } from "./socket-table.ts";

/** What {@link WatchedSockets} are made with. */
export interface WatchedSocketsOptions {
  readonly libc: Libc;
  /** Lends {@link WatchedSockets.SPACE} bytes. */
  readonly arena: Arena;
  readonly counters: Float64Array;
  /** Size of each socket's kernel buffers. Default 4 MiB. */
  readonly bufferBytes: number | undefined;
  /** Whether the class of each packet is to be told. */
  readonly tellTrafficClass: boolean;
  /** An eventfd that ends the waiting, owned by the caller. Default: one of its own. */
  readonly wakeDescriptor: number | undefined;
}

/** Stands for the eventfd among the sockets of an epoll. */
export const WAKE = -1;
const EVENTS = 256;
/** Sockets whose drops one look takes in: 16,000 in six seconds, at ten looks a second. */
const DROP_SAMPLES = 256;

/** The sockets of a plane: opened, adopted and closed, and watched by one epoll. */
export class WatchedSockets {
  readonly table: SocketTable = new SocketTable();
  readonly factory: SocketFactory;
  /** Absent: nobody asks for the class of packets. */
  readonly classes: ClassWatch | undefined;
  readonly wakeDescriptor: number;
  readonly #options: WatchedSocketsOptions;
  readonly #libc: Libc;
  readonly #arena: Arena;
  readonly #counters: Float64Array;
  readonly #epoll: number;
  readonly #events: number;
  readonly #scratch: number;
  /** Descriptors that somebody else will close. */
  readonly #adopted = new Set<number>();
  /** The socket whose drops were looked at last. */
  #sampled = 0;
  #closed = false;

  /** @throws {SystemCallError} if epoll or eventfd descriptors can't be had. */
  constructor(options: WatchedSocketsOptions) {
    const { libc, arena } = options;
    this.#options = options;
    this.#libc = libc;
    this.#arena = arena;
    this.#counters = options.counters;
    this.factory = new SocketFactory(libc, arena);
    this.classes = options.tellTrafficClass
      ? new ClassWatch((socket, on) => this.#tellClass(this.table.fds[socket] ?? -1, this.table.ipv6[socket] === 1, on))
      : undefined;
    this.#events = arena.reserve(EVENTS * L.epollEvent.size);
    this.#scratch = arena.reserve(64);
    this.#epoll = libc.epollCreate(L.EPOLL_CLOEXEC);
    if (this.#epoll < 0) throw new SystemCallError("epoll_create1", libc.errno(), "a plane");
    this.wakeDescriptor = options.wakeDescriptor ?? libc.eventfd(0, L.EFD_NONBLOCK | L.EFD_CLOEXEC);
    if (this.wakeDescriptor < 0) {
      const errno = libc.errno();
      libc.close(this.#epoll);
      throw new SystemCallError("eventfd", errno, "a plane");
    }
    try {
      this.#watch(this.wakeDescriptor, WAKE);
    } catch (error) {
      this.closeAll();
      throw error;
    }
  }

  /** Bytes of arena that it takes. */
  static readonly SPACE: number = SocketFactory.SCRATCH + EVENTS * L.epollEvent.size + 4 * 64;

  open(local: TransportAddress, role: SocketRole, listener: number): Opened {
    if (this.#closed) return { kind: "failed", failure: "failed", code: "EBADF" };
    const { bufferBytes } = this.#options;
    try {
      const opened = this.factory.open(bufferBytes === undefined ? { local } : { local, bufferBytes });
      const socket = this.#addOrClose(opened.fd, role, listener, local.family === 6);
      return { kind: "opened", socket, local: opened.local };
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      const code = describeErrno(error.errno).split(" ")[0] ?? "";
      return { kind: "failed", failure: openFailure(error.errno), code };
    }
  }

  /**
   * Listens on a descriptor that somebody else opened, and will close.
   * @throws {SystemCallError} if it can't be watched.
   */
  adopt(fd: number, listener: number): number {
    const socket = this.#add(fd, SocketRole.listener, listener);
    // What was dropped before is somebody else's to count.
    this.table.drops[socket] = this.factory.drops(fd);
    this.#adopted.add(fd);
    return socket;
  }

  /**
   * Listens on a descriptor that somebody else opened, and closes it in the end.
   * @throws {SystemCallError} if it can't be watched; then it is closed already.
   */
  take(fd: number, listener: number): number {
    return this.#addOrClose(fd, SocketRole.listener, listener);
  }

  /** Waits for packets, at most `timeoutMs` (−1: without end). Returns how many sockets are ready. */
  wait(timeoutMs: number): number {
    return this.#libc.epollWait(this.#epoll, this.#arena.address + this.#events, EVENTS, timeoutMs);
  }

  /** The socket, or {@link WAKE}, that the event `index` of the latest {@link wait} is about. */
  socketOf(index: number): number {
    return this.#arena.words[(this.#events + index * L.epollEvent.size + L.epollEvent.data) >> 2] ?? WAKE;
  }

  /** What happened to it: EPOLLIN, EPOLLERR. */
  eventsOf(index: number): number {
    return this.#arena.words[(this.#events + index * L.epollEvent.size) >> 2] ?? 0;
  }

  /** Makes the eventfd silent until it is written to again. */
  hush(): void {
    this.#libc.read(this.wakeDescriptor, this.#arena.address + this.#scratch, 8);
  }

  /** Looks at the kernel's count of drops of 256 sockets, then of the next ones: to be called ten times a second. */
  sampleDrops(): void {
    const received =
      (this.#counters[Counter.packetsFromClients] ?? 0) + (this.#counters[Counter.packetsFromPeers] ?? 0);
    this.classes?.tick(received);
    const { end } = this.table;
    for (let looked = Math.min(end, DROP_SAMPLES); looked > 0; looked--) {
      this.#sampled = (this.#sampled + 1) % end;
      if (this.table.roles[this.#sampled] === SocketRole.free) continue;
      this.#readDrops(this.#sampled);
      this.classes?.prepare(this.#sampled);
    }
  }

  close(socket: number): void {
    const fd = this.table.fds[socket] ?? -1;
    if (fd < 0) return;
    this.#readDrops(socket);
    this.table.remove(socket);
    if (this.#adopted.delete(fd)) this.#libc.epollCtl(this.#epoll, L.EPOLL_CTL_DEL, fd, 0);
    else this.#libc.close(fd);
  }

  /** Closes all of them, the eventfd too if it is its own. */
  closeAll(): void {
    this.#closed = true;
    for (let socket = 0; socket < this.table.end; socket++) {
      if (this.table.roles[socket] !== SocketRole.free) this.close(socket);
    }
    if (this.#options.wakeDescriptor === undefined) this.#libc.close(this.wakeDescriptor);
    this.#libc.close(this.#epoll);
  }

  #addOrClose(fd: number, role: SocketRole, listener: number, ipv6?: boolean): number {
    try {
      return this.#add(fd, role, listener, ipv6);
    } catch (error) {
      this.#libc.close(fd);
      throw error;
    }
  }

  /** Enters a socket into the table and watches it: both, or neither. */
  #add(fd: number, role: SocketRole, listener: number, known?: boolean): number {
    const ipv6 = known ?? this.factory.localAddress(fd).family === 6;
    const socket = this.table.add(fd, role, ipv6, listener);
    try {
      if (this.#options.tellTrafficClass && this.#tellClass(fd, ipv6, true) < 0) {
        throw new SystemCallError("setsockopt", this.#libc.errno(), `the class of packets on socket ${fd}`);
      }
      this.classes?.add(socket);
      this.#watch(fd, socket);
      return socket;
    } catch (error) {
      this.table.remove(socket);
      throw error;
    }
  }

  #tellClass(fd: number, ipv6: boolean, on: boolean): number {
    const [level, name] = ipv6 ? [L.IPPROTO_IPV6, L.IPV6_RECVTCLASS] : [L.IPPROTO_IP, L.IP_RECVTOS];
    return this.factory.trySet(fd, level, name, on ? 1 : 0);
  }

  #watch(fd: number, socket: number): void {
    const { address, words } = this.#arena;
    const at = this.#scratch >> 2;
    words[at] = L.EPOLLIN;
    words[at + 1] = socket;
    words[at + 2] = 0;
    if (this.#libc.epollCtl(this.#epoll, L.EPOLL_CTL_ADD, fd, address + this.#scratch) < 0) {
      throw new SystemCallError("epoll_ctl", this.#libc.errno(), `socket ${fd}`);
    }
  }

  /** Adds what the kernel dropped since the last look. */
  #readDrops(socket: number): void {
    const drops = this.factory.drops(this.table.fds[socket] ?? -1);
    const fresh = (drops - (this.table.drops[socket] ?? 0)) >>> 0;
    this.#counters[Counter.receiveOverflow] = (this.#counters[Counter.receiveOverflow] ?? 0) + fresh;
    this.table.drops[socket] = drops;
  }
}
