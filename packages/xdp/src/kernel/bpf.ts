import type { Assembled } from "../assembler/assemble.ts";
import { explainVerifierLog } from "../assembler/verifier-log.ts";
import { type System, XdpError } from "./system.ts";

/** Commands of bpf(2), by <linux/bpf.h>. */
const COMMAND = {
  mapCreate: 0,
  mapLookup: 1,
  mapUpdate: 2,
  mapDelete: 3,
  programLoad: 5,
  programTestRun: 10,
  objectInfo: 15,
  linkCreate: 28,
} as const;
const MAP_TYPE = { hash: 1, array: 2, perCpuArray: 6 } as const;
const BPF_F_MMAPABLE = 1 << 10;
/** Program types and expected attach types: XDP, and SCHED_CLS with TCX_INGRESS. */
const HOOK: Readonly<Record<"xdp" | "tcx", { readonly program: number; readonly attach: number }>> = {
  xdp: { program: 6, attach: 37 },
  tcx: { program: 3, attach: 46 },
};
const XDP_FLAGS: Readonly<Record<"generic" | "native", number>> = { generic: 1 << 1, native: 1 << 2 };
const EINVAL = 22;
const EEXIST = 17;
const EBUSY = 16;
const ENOENT = 2;
const LIVE_FRAMES = 1 << 1;
const MAX_LIVE_BATCH = 256;
const VERIFIER_LOG_BYTES = 1 << 20;
/** Helpers under a licence compatible with the GPL are not used: any name would do. */
const LICENSE = new TextEncoder().encode("Apache-2.0\0");

/** Where in the kernel packets reach a program: in the driver, or what stands for it; or with the kernel's own buffers. */
export type HookName = keyof typeof HOOK;

/**
 * How packets reach the program: `native`, in the card's driver by XDP; `tcx`, after the kernel made a buffer of each;
 * `generic`, so too, by XDP, for which many buffers must be copied.
 */
export type XdpMode = keyof typeof XDP_FLAGS | "tcx";

/** What {@link BpfMap} is made with. Sizes in bytes. */
export interface MapOptions {
  readonly kind: keyof typeof MAP_TYPE;
  /** At most 15 letters, digits or underscores; shown by `bpftool map`. */
  readonly name: string;
  readonly keySize: number;
  readonly valueSize: number;
  readonly entries: number;
  /** The values can be mapped into memory (arrays only). */
  readonly mapped?: boolean;
}

/** What became of a packet in {@link Program.testRun}. */
export interface TestRun {
  /** The program's verdict: of {@link XDP}, or {@link TCX}. */
  readonly verdict: number;
  /** The packet as the program left it. */
  readonly bytes: Uint8Array;
  /** Nanoseconds for one run, on average. */
  readonly durationNs: number;
}

/** XDP verdicts, by <linux/bpf.h>. */
export const XDP = { aborted: 0, drop: 1, pass: 2, transmit: 3, redirect: 4 } as const;

/** TCX verdicts, by <linux/bpf.h>. */
export const TCX = { next: -1, pass: 0, drop: 2, redirect: 7 } as const;

/** The kernel's verifier refused a program. */
export class VerifierError extends XdpError {
  override readonly name = "VerifierError";
  /** The verifier's last words, with our labels. */
  readonly explanation: string;

  constructor(explanation: string, errno: number) {
    super(`The kernel refuses the program:\n${explanation}\n`, errno);
    this.explanation = explanation;
  }
}

/** `union bpf_attr` (or another structure), written member by member; keeps what it points to alive. */
class Attributes {
  readonly bytes = new Uint8Array(new ArrayBuffer(128));
  readonly #view = new DataView(this.bytes.buffer);
  readonly #system: System;
  readonly #kept: Uint8Array[] = [];

  constructor(system: System) {
    this.#system = system;
  }

  u32(offset: number, value: number): this {
    this.#view.setUint32(offset, value, true);
    return this;
  }

  pointer(offset: number, target: Uint8Array): this {
    this.#kept.push(target);
    this.#view.setBigUint64(offset, this.#system.addressOf(target), true);
    return this;
  }

  text(offset: number, value: string): this {
    new TextEncoder().encodeInto(value, this.bytes.subarray(offset, offset + 15));
    return this;
  }

  read(offset: number): number {
    return this.#view.getUint32(offset, true);
  }

  call(command: number): number {
    return this.#system.bpf(command, this.bytes);
  }
}

/** A map: memory that the program and this process share. Gone when closed and no program uses it. */
export class BpfMap {
  readonly descriptor: number;
  readonly #system: System;
  readonly #options: MapOptions;
  readonly #value: Uint8Array;

  /** @throws {XdpError} if the kernel refuses. */
  constructor(system: System, options: MapOptions) {
    this.#system = system;
    this.#options = options;
    this.#value = new Uint8Array(new ArrayBuffer(options.valueSize));
    this.descriptor = new Attributes(system)
      .u32(0, MAP_TYPE[options.kind])
      .u32(4, options.keySize)
      .u32(8, options.valueSize)
      .u32(12, options.entries)
      .u32(16, options.mapped === true ? BPF_F_MMAPABLE : 0)
      .text(28, options.name)
      .call(COMMAND.mapCreate);
    if (this.descriptor < 0) {
      throw new XdpError(`Cannot make the map ${options.name} of ${options.entries} entries`, system.errno());
    }
  }

  get name(): string {
    return this.#options.name;
  }

  get entries(): number {
    return this.#options.entries;
  }

  /** As `bpftool map show id` wants it. @throws {XdpError} */
  get id(): number {
    return idOf(this.#system, this.descriptor);
  }

  /** Sets an entry. 0, or the error number if the kernel refuses: the map may be full (E2BIG). */
  set(key: Uint8Array, value: Uint8Array): number {
    const attributes = new Attributes(this.#system).u32(0, this.descriptor).pointer(8, key).pointer(16, value);
    return attributes.call(COMMAND.mapUpdate) < 0 ? this.#system.errno() : 0;
  }

  /** Removes an entry. False: there was none. @throws {XdpError} */
  delete(key: Uint8Array): boolean {
    const attributes = new Attributes(this.#system).u32(0, this.descriptor).pointer(8, key);
    if (attributes.call(COMMAND.mapDelete) >= 0) return true;
    const errno = this.#system.errno();
    if (errno === ENOENT) return false;
    throw new XdpError(`Cannot remove an entry of the map ${this.#options.name}`, errno);
  }

  /** An entry's value, valid until the next call. Of maps kept per CPU: `cpus` values in a row. @throws {XdpError} */
  get(key: Uint8Array, cpus = 1): Uint8Array {
    const value = cpus === 1 ? this.#value : new Uint8Array(new ArrayBuffer(this.#options.valueSize * cpus));
    const attributes = new Attributes(this.#system).u32(0, this.descriptor).pointer(8, key).pointer(16, value);
    if (attributes.call(COMMAND.mapLookup) < 0) {
      throw new XdpError(`Cannot read the map ${this.#options.name}`, this.#system.errno());
    }
    return value;
  }

  /** The values of a `mapped` array, in memory shared with the kernel. @throws {XdpError} */
  memory(): ArrayBuffer {
    const size = Math.ceil((this.#options.valueSize * this.#options.entries) / 4096) * 4096;
    const memory = this.#system.mapShared(this.descriptor, size);
    if (memory === undefined) {
      throw new XdpError(`Cannot map the map ${this.#options.name} into memory`, this.#system.errno());
    }
    return memory;
  }

  close(): void {
    this.#system.close(this.descriptor);
  }
}

/** A program that the kernel has verified. */
export class Program {
  readonly descriptor: number;
  readonly #system: System;

  /** @throws {VerifierError} if the verifier refuses it, with its words. */
  constructor(
    system: System,
    options: {
      readonly name: string;
      readonly assembled: Assembled;
      /** Default `xdp`. */
      readonly hook?: HookName;
    },
  ) {
    this.#system = system;
    const { name, assembled, hook = "xdp" } = options;
    const load = (log: Uint8Array | undefined): number => {
      const attributes = new Attributes(system)
        .u32(0, HOOK[hook].program)
        .u32(4, assembled.code.length / 8)
        .pointer(8, assembled.code)
        .pointer(16, LICENSE)
        .u32(68, HOOK[hook].attach)
        .text(48, name);
      if (log !== undefined) attributes.u32(24, 1).u32(28, log.length).pointer(32, log);
      return attributes.call(COMMAND.programLoad);
    };
    let descriptor = load(undefined);
    if (descriptor < 0) {
      // Only a refusal is worth a log.
      const log = new Uint8Array(new ArrayBuffer(VERIFIER_LOG_BYTES));
      descriptor = load(log);
      if (descriptor < 0) {
        const errno = system.errno();
        const text = new TextDecoder().decode(log.subarray(0, log.indexOf(0)));
        throw new VerifierError(explainVerifierLog(text, assembled), errno);
      }
    }
    this.descriptor = descriptor;
  }

  /** As `bpftool prog show id` wants it. @throws {XdpError} */
  get id(): number {
    return idOf(this.#system, this.descriptor);
  }

  /**
   * Runs the program on one packet, nowhere attached. `context` is `struct __sk_buff` for TCX: what of it may be set
   * there. @throws {XdpError}
   */
  testRun(packet: Uint8Array, options: { readonly repeat?: number; readonly context?: Uint8Array } = {}): TestRun {
    const { repeat = 1, context } = options;
    const out = new Uint8Array(new ArrayBuffer(packet.length + 256));
    const attributes = new Attributes(this.#system)
      .u32(0, this.descriptor)
      .u32(8, packet.length)
      .u32(12, out.length)
      .pointer(16, packet)
      .pointer(24, out)
      .u32(32, repeat);
    if (context !== undefined) attributes.u32(40, context.length).pointer(48, context);
    if (attributes.call(COMMAND.programTestRun) < 0) {
      throw new XdpError(`Cannot test-run a packet of ${packet.length} bytes`, this.#system.errno());
    }
    return {
      verdict: attributes.read(4) | 0,
      bytes: out.subarray(0, attributes.read(12)),
      durationNs: attributes.read(36),
    };
  }

  /**
   * Runs the program on `times` copies of a packet and carries its verdicts out: what it redirects is sent. For load
   * generators (BPF_F_TEST_XDP_LIVE_FRAMES). @throws {XdpError}
   */
  runLive(packet: Uint8Array, times: number): void {
    const attributes = new Attributes(this.#system)
      .u32(0, this.descriptor)
      .u32(8, packet.length)
      .pointer(16, packet)
      .u32(32, times)
      .u32(64, LIVE_FRAMES)
      .u32(72, Math.min(times, MAX_LIVE_BATCH));
    if (attributes.call(COMMAND.programTestRun) < 0) {
      throw new XdpError(`Cannot send a packet of ${packet.length} bytes`, this.#system.errno());
    }
  }

  close(): void {
    this.#system.close(this.descriptor);
  }
}

/** A program on an interface. It ends when closed, or with the process, however that ends. */
export class XdpLink {
  readonly mode: XdpMode;
  readonly #descriptor: number;
  readonly #system: System;

  /**
   * Attaches in the first of `modes` that the interface can do. An interface has one XDP program, but many for TCX: a
   * program is put behind those that are there.
   *
   * @throws {XdpError} if none can be had.
   */
  constructor(
    system: System,
    options: {
      /** One for the hook of each mode; a function is asked as each is tried. */
      readonly program: Program | ((hook: HookName) => Program);
      readonly interface: string;
      readonly interfaceIndex: number;
      readonly modes: readonly XdpMode[];
    },
  ) {
    this.#system = system;
    const { program } = options;
    const refusals = new Map<XdpMode, number>();
    for (const mode of options.modes) {
      const { descriptor: loaded } = typeof program === "function" ? program(hookOf(mode)) : program;
      const descriptor = new Attributes(system)
        .u32(0, loaded)
        .u32(4, options.interfaceIndex)
        .u32(8, HOOK[hookOf(mode)].attach)
        .u32(12, mode === "tcx" ? 0 : XDP_FLAGS[mode])
        .call(COMMAND.linkCreate);
      if (descriptor >= 0) {
        this.mode = mode;
        this.#descriptor = descriptor;
        return;
      }
      refusals.set(mode, system.errno());
    }
    throw refusal(options.interface, refusals);
  }

  /** False after somebody took the program off, or the interface is gone. */
  isAttached(): boolean {
    // `struct bpf_link_info`: the interface's index follows type, id and program, and is 0 once detached.
    return (infoOf(this.#system, this.#descriptor)?.read(16) ?? 0) !== 0;
  }

  close(): void {
    this.#system.close(this.#descriptor);
  }
}

/** The hook whose programs a mode attaches. */
export function hookOf(mode: XdpMode): HookName {
  return mode === "tcx" ? "tcx" : "xdp";
}

/** Why a program is on no interface, and the way out. */
function refusal(name: string, refusals: ReadonlyMap<XdpMode, number>): XdpError {
  const busy = [...refusals.values()].find((errno) => errno === EEXIST || errno === EBUSY);
  if (busy !== undefined) {
    return new XdpError(
      `Interface ${name} has an XDP program already (\`ip link show ${name}\` names it): ` +
        "take it off, attach by TCX, or use another plane",
      busy,
    );
  }
  const modes = [...refusals.keys()].join(", ");
  const wayOut = refusals.size === 1 ? ": use another mode" : "";
  const old = refusals.get("tcx") === EINVAL ? ` (TCX needs Linux 6.6 or later${wayOut})` : "";
  return new XdpError(`Cannot attach to interface ${name} in mode ${modes}${old}`, [...refusals.values()].at(-1) ?? 0);
}

/** What the kernel tells of a map, program or link, as far as it fits; undefined if it doesn't. */
function infoOf(system: System, descriptor: number): Attributes | undefined {
  const info = new Attributes(system);
  const asked = new Attributes(system).u32(0, descriptor).u32(4, info.bytes.length).pointer(8, info.bytes);
  return asked.call(COMMAND.objectInfo) < 0 ? undefined : info;
}

/** The number follows the type in `struct bpf_map_info` and `struct bpf_prog_info` alike. */
function idOf(system: System, descriptor: number): number {
  const info = infoOf(system, descriptor);
  if (info === undefined) throw new XdpError("The kernel doesn't tell a map's or program's number", system.errno());
  return info.read(4);
}
