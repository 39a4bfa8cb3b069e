import { createRequire } from "node:module";
import { getSystemErrorName } from "node:util";
import type * as Koffi from "koffi";

/**
 * The system calls of the batched plane. Addresses are plain numbers (user space ends below 2^47, so they are exact);
 * every call returns −1 on failure, with the reason in `errno()` until the next call.
 */
export interface Libc {
  readonly socket: (domain: number, type: number, protocol: number) => number;
  readonly bind: (fd: number, address: number, length: number) => number;
  readonly connect: (fd: number, address: number, length: number) => number;
  readonly getsockname: (fd: number, address: number, lengthAddress: number) => number;
  readonly setsockopt: (fd: number, level: number, name: number, value: number, length: number) => number;
  readonly getsockopt: (fd: number, level: number, name: number, value: number, lengthAddress: number) => number;
  readonly sendto: (
    fd: number,
    buffer: number,
    length: number,
    flags: number,
    address: number,
    addressLength: number,
  ) => number;
  readonly recvmsg: (fd: number, message: number, flags: number) => number;
  readonly sendmsg: (fd: number, message: number, flags: number) => number;
  readonly recvmmsg: (fd: number, messages: number, count: number, flags: number, timeout: number) => number;
  readonly sendmmsg: (fd: number, messages: number, count: number, flags: number) => number;
  readonly epollCreate: (flags: number) => number;
  readonly epollCtl: (epoll: number, operation: number, fd: number, event: number) => number;
  readonly epollWait: (epoll: number, events: number, count: number, timeoutMs: number) => number;
  readonly eventfd: (initial: number, flags: number) => number;
  readonly read: (fd: number, buffer: number, length: number) => number;
  readonly write: (fd: number, buffer: number, length: number) => number;
  readonly close: (fd: number) => number;
  readonly clockGettime: (clock: number, timespec: number) => number;
  /** Sleeps this thread. */
  readonly usleep: (microseconds: number) => number;
  /** Lets this thread's sleeps end within `nanoseconds` of their time (PR_SET_TIMERSLACK). */
  readonly setTimerSlack: (nanoseconds: number) => number;
  /** Gives pages that no thread's heap uses back to the system, all but `keep` bytes of each. */
  readonly mallocTrim: (keep: number) => number;
  /** The error number of the last failed call on this thread. */
  readonly errno: () => number;
  /** Maps fresh memory below 2^31; its address, or −1. */
  readonly mapLow: (size: number) => number;
  readonly unmap: (address: number, size: number) => number;
  /** The bytes at an address. They must stay mapped while the result is referenced. */
  readonly viewOf: (address: number, size: number) => ArrayBuffer;
  /** Where the bytes of `memory` lie. They do not move while `memory` is referenced. */
  readonly addressOf: (memory: Uint8Array) => number;
}

/** Why system calls can't be made here, in words for a log line. */
export interface LibcUnavailable {
  readonly unavailable: string;
}

/** What the machine is; an input, so that each refusal can be tested. Default: this process. */
export interface LoadLibcOptions {
  readonly platform?: string;
  readonly architecture?: string;
  /** The C library's file. Default `libc.so.6`, which is glibc's name. */
  readonly library?: string;
}

const PR_SET_TIMERSLACK = 29;
const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_PRIVATE = 0x02;
const MAP_ANONYMOUS = 0x20;
const MAP_32BIT = 0x40;

const require = createRequire(import.meta.url);

/**
 * Binds the system calls through koffi's prebuilt binary. Linux on x86-64 with glibc only: the layouts of `layout.ts`
 * are known to hold there and nowhere else. Never throws: what is missing is told by {@link LibcUnavailable}.
 */
export function loadLibc(options: LoadLibcOptions = {}): Libc | LibcUnavailable {
  const platform = options.platform ?? process.platform;
  const architecture = options.architecture ?? process.arch;
  if (platform !== "linux" || architecture !== "x64") {
    return {
      unavailable: `batched system calls are known for linux-x64 with glibc, not for ${platform}-${architecture}`,
    };
  }
  let koffi: typeof Koffi;
  try {
    koffi = require("koffi");
  } catch (error) {
    return { unavailable: `the optional package koffi cannot be loaded: ${messageOf(error)}` };
  }
  try {
    return bindCalls(koffi, options.library ?? "libc.so.6");
  } catch (error) {
    return { unavailable: `the C library is not glibc or lacks a call: ${messageOf(error)}` };
  }
}

/** `ENOENT (2)`: an error number in words. */
export function describeErrno(errno: number): string {
  try {
    return `${getSystemErrorName(-errno)} (${errno})`;
  } catch {
    return `error ${errno}`;
  }
}

/** A system call that a cold path can't go on without has failed. */
export class SystemCallError extends Error {
  readonly call: string;
  readonly errno: number;

  constructor(call: string, errno: number, what: string) {
    super(`${call} failed for ${what}: ${describeErrno(errno)}`);
    this.name = "SystemCallError";
    this.call = call;
    this.errno = errno;
  }
}

function bindCalls(koffi: typeof Koffi, library: string): Libc {
  const c = koffi.load(library);
  // Only glibc has it: another C library's layouts are not in the table.
  c.func("const char *gnu_get_libc_version()");
  // Pointers are declared as integers: koffi then passes them without looking at what they point to.
  const mmap = c.func("uintptr_t mmap(uintptr_t, uintptr_t, int, int, int, intptr_t)");
  const prctl = c.func("int prctl(int, uintptr_t, uintptr_t, uintptr_t, uintptr_t)");
  return {
    socket: c.func("int socket(int, int, int)"),
    bind: c.func("int bind(int, uintptr_t, uint32_t)"),
    connect: c.func("int connect(int, uintptr_t, uint32_t)"),
    getsockname: c.func("int getsockname(int, uintptr_t, uintptr_t)"),
    setsockopt: c.func("int setsockopt(int, int, int, uintptr_t, uint32_t)"),
    getsockopt: c.func("int getsockopt(int, int, int, uintptr_t, uintptr_t)"),
    sendto: c.func("intptr_t sendto(int, uintptr_t, uintptr_t, int, uintptr_t, uint32_t)"),
    recvmsg: c.func("intptr_t recvmsg(int, uintptr_t, int)"),
    sendmsg: c.func("intptr_t sendmsg(int, uintptr_t, int)"),
    recvmmsg: c.func("int recvmmsg(int, uintptr_t, uint32_t, int, uintptr_t)"),
    sendmmsg: c.func("int sendmmsg(int, uintptr_t, uint32_t, int)"),
    epollCreate: c.func("int epoll_create1(int)"),
    epollCtl: c.func("int epoll_ctl(int, int, int, uintptr_t)"),
    epollWait: c.func("int epoll_wait(int, uintptr_t, int, int)"),
    eventfd: c.func("int eventfd(uint32_t, int)"),
    read: c.func("intptr_t read(int, uintptr_t, uintptr_t)"),
    write: c.func("intptr_t write(int, uintptr_t, uintptr_t)"),
    close: c.func("int close(int)"),
    clockGettime: c.func("int clock_gettime(int, uintptr_t)"),
    usleep: c.func("int usleep(uint32_t)"),
    setTimerSlack: (nanoseconds) => prctl(PR_SET_TIMERSLACK, nanoseconds, 0, 0, 0),
    mallocTrim: c.func("int malloc_trim(uintptr_t)"),
    errno: () => koffi.errno(),
    mapLow: (size) => {
      const address = Number(mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_32BIT | MAP_ANONYMOUS, -1, 0));
      return address < 2 ** 31 ? address : -1;
    },
    unmap: c.func("int munmap(uintptr_t, uintptr_t)"),
    viewOf: (address, size) => koffi.view(BigInt(address), size),
    addressOf: (memory) => Number(koffi.address(memory)),
  };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error);
}
