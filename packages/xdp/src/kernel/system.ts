import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { getSystemErrorName } from "node:util";
import type * as Koffi from "koffi";

/** The few calls of the C library that bpf(2) and netlink need. Each returns −1 on failure, the reason in `errno()`. */
export interface System {
  /** bpf(2): `attributes` is `union bpf_attr`. */
  readonly bpf: (command: number, attributes: Uint8Array) => number;
  readonly close: (descriptor: number) => number;
  /** Maps `size` bytes of a descriptor, shared, to be read and written; undefined if that fails. */
  readonly mapShared: (descriptor: number, size: number) => ArrayBuffer | undefined;
  readonly socket: (domain: number, type: number, protocol: number) => number;
  readonly bind: (descriptor: number, address: Uint8Array) => number;
  readonly send: (descriptor: number, bytes: Uint8Array) => number;
  /** Without waiting. */
  readonly receive: (descriptor: number, into: Uint8Array) => number;
  readonly errno: () => number;
  /** Where the bytes lie. They stay there while `memory` is referenced. */
  readonly addressOf: (memory: Uint8Array) => bigint;
}

/** The kernel plane can't run here. The message says why, and the way out. */
export class XdpUnavailableError extends Error {
  override readonly name = "XdpUnavailableError";
}

/** A call that the kernel plane can't go on without has failed. */
export class XdpError extends Error {
  override readonly name: string = "XdpError";
  readonly errno: number;

  constructor(what: string, errno: number) {
    super(`${what}: ${describe(errno)}`);
    this.errno = errno;
  }
}

/** What the machine is; an input, so that each refusal can be tested. Default: this process. */
export interface Machine {
  readonly platform?: string;
  readonly architecture?: string;
  /** `/proc/self/status` as text. */
  readonly status?: string;
}

const SYS_BPF: Readonly<Record<string, number>> = { x64: 321, arm64: 280 };
const CAPABILITIES = { CAP_NET_ADMIN: 12, CAP_SYS_ADMIN: 21, CAP_BPF: 39 } as const;
const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;
const MSG_DONTWAIT = 0x40;

const require = createRequire(import.meta.url);

/**
 * Binds the system calls, after looking whether this process may make them.
 *
 * @throws {XdpUnavailableError} if it isn't Linux, a capability or koffi is missing.
 */
export function loadSystem(machine: Machine = {}): System {
  const platform = machine.platform ?? process.platform;
  const architecture = machine.architecture ?? process.arch;
  const number = SYS_BPF[architecture];
  if (platform !== "linux" || number === undefined) {
    throw new XdpUnavailableError(
      `Cannot use the kernel plane: it needs Linux on x64 or arm64, not ${platform} on ${architecture}; use another plane`,
    );
  }
  const missing = missingCapabilities(machine.status ?? readFileSync("/proc/self/status", "utf8"));
  if (missing.length > 0) {
    throw new XdpUnavailableError(
      `Cannot use the kernel plane: the process lacks ${missing.join(" and ")}; ` +
        `grant them (systemd: AmbientCapabilities=${missing.join(" ")}, Docker: ` +
        `${missing.map((name) => `--cap-add ${name.slice(4)}`).join(" ")}), or use another plane`,
    );
  }
  let koffi: typeof Koffi;
  try {
    koffi = require("koffi");
  } catch (error) {
    const reason = error instanceof Error ? error.message.split("\n")[0] : String(error);
    throw new XdpUnavailableError(
      `Cannot use the kernel plane: the optional package koffi cannot be loaded (${reason}); install it, or use another plane`,
    );
  }
  return bindCalls(koffi, number);
}

/** Which capabilities are missing, by the CapEff line of `/proc/self/status`. */
export function missingCapabilities(status: string): readonly (keyof typeof CAPABILITIES)[] {
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`);
  const has = (name: keyof typeof CAPABILITIES): boolean => ((effective >> BigInt(CAPABILITIES[name])) & 1n) === 1n;
  // CAP_SYS_ADMIN holds CAP_BPF since before there was one.
  const needed = has("CAP_SYS_ADMIN") ? (["CAP_NET_ADMIN"] as const) : (["CAP_BPF", "CAP_NET_ADMIN"] as const);
  return needed.filter((name) => !has(name));
}

function describe(errno: number): string {
  try {
    return `${getSystemErrorName(-errno)} (${errno})`;
  } catch {
    return `error ${errno}`;
  }
}

function bindCalls(koffi: typeof Koffi, number: number): System {
  const c = koffi.load("libc.so.6");
  // Pointers are declared as integers: koffi then passes them without looking at what they point to.
  const syscall = c.func("intptr_t syscall(intptr_t, int, uintptr_t, uint32_t)");
  const mmap = c.func("intptr_t mmap(uintptr_t, uintptr_t, int, int, int, intptr_t)");
  const bind = c.func("int bind(int, uintptr_t, uint32_t)");
  const send = c.func("intptr_t send(int, uintptr_t, uintptr_t, int)");
  const recv = c.func("intptr_t recv(int, uintptr_t, uintptr_t, int)");
  const addressOf = (memory: Uint8Array): bigint => koffi.address(memory);
  return {
    bpf: (command, attributes) => Number(syscall(number, command, addressOf(attributes), attributes.length)),
    close: c.func("int close(int)"),
    mapShared: (descriptor, size) => {
      const address = BigInt(mmap(0, size, PROT_READ_WRITE, MAP_SHARED, descriptor, 0));
      return address === -1n ? undefined : koffi.view(address, size);
    },
    socket: c.func("int socket(int, int, int)"),
    bind: (descriptor, address) => bind(descriptor, addressOf(address), address.length),
    send: (descriptor, bytes) => Number(send(descriptor, addressOf(bytes), bytes.length, 0)),
    receive: (descriptor, into) => Number(recv(descriptor, addressOf(into), into.length, MSG_DONTWAIT)),
    errno: () => koffi.errno(),
    addressOf,
  };
}
