/** Where a sample of a profile was taken: the first is the innermost. */
export interface Frame {
  readonly symbol: string;
  /** The file of its code: a program, a library, `[kernel.kallsyms]`, or `perf-PID.map` of what a runtime compiled. */
  readonly file: string;
}

/** A moment of a thread that ran. */
export interface Sample {
  /** By the clock that perf was told to use. */
  readonly atNs: number;
  readonly frames: readonly Frame[];
}

/** What time is spent on, in the order of the tables. */
export const parts = [
  "kernel: UDP receive",
  "kernel: UDP send",
  "kernel: delivery on loopback",
  "kernel: epoll",
  "kernel: other",
  "Node and V8",
  "V8's garbage collection",
  "V8's compilers",
  "Node's JavaScript",
  "koffi",
  "cryptography",
  "C library",
  "stun",
  "turn",
  "relay",
  "other rooms",
  "its own code",
] as const;
export type Part = (typeof parts)[number];

const GARBAGE = /v8::internal::.*(?:Heap::Collect|Scaveng|MarkCompact|Marking|Sweep|IncrementalMark|Evacuat)/;
const COMPILERS = /v8::internal::.*(?:compiler::|maglev::|Compil|Parser|interpreter::Bytecode|baseline::)/;
const CRYPTOGRAPHY = /sha1|sha256|hmac|md5|evp_|openssl|ossl_|crypto/i;
const ROOM = /packages\/([a-z]+)\/(?:src|dist)\//;

/** The samples in what `perf script --ns -F comm,tid,time,ip,sym,dso` says. */
export function readSamples(text: string): readonly Sample[] {
  return text.split("\n\n").flatMap((block): readonly Sample[] => {
    const [head = "", ...lines] = block.trimStart().split("\n");
    const [, seconds, ns] = / (\d+)\.(\d{9}): *$/.exec(head) ?? [];
    const frames = lines.flatMap((line): readonly Frame[] => {
      const found = /^\s+[0-9a-f]+ (.*) \(([^()]*)\)$/.exec(line);
      return found === null ? [] : [{ symbol: found[1] ?? "", file: found[2] ?? "" }];
    });
    return frames.length === 0 ? [] : [{ atNs: Number(seconds) * 1e9 + Number(ns), frames }];
  });
}

/** What the time of a sample was spent on. What a compiler put into its caller counts as the caller's. */
export function partOf(frames: readonly Frame[]): Part {
  const [leaf] = frames;
  if (leaf === undefined) return "its own code";
  const has = (pattern: RegExp): boolean => frames.some(({ symbol }) => pattern.test(symbol));
  if (leaf.file.startsWith("[kernel") || leaf.file.startsWith("[vdso")) return kernelPart(has);
  if (has(GARBAGE)) return "V8's garbage collection";
  if (has(COMPILERS)) return "V8's compilers";
  if (leaf.file.includes("perf-") && leaf.file.endsWith(".map")) return compiledPart(leaf.symbol);
  if (leaf.file.endsWith("koffi.node")) return "koffi";
  if (/lib(?:crypto|ssl)/.test(leaf.file) || CRYPTOGRAPHY.test(leaf.symbol)) return "cryptography";
  if (/\/lib(?:c|m|stdc\+\+|pthread|gcc_s)[.-]/.test(leaf.file)) return "C library";
  return leaf.file.endsWith("/node") ? "Node and V8" : "its own code";
}

function kernelPart(has: (pattern: RegExp) => boolean): Part {
  // On loopback a send carries the packet up to the receiver's socket.
  if (has(/^(?:net_rx_action|handle_softirqs|__do_softirq)$/)) return "kernel: delivery on loopback";
  if (has(/^__sys_send|^udp_sendmsg$|sendmmsg/)) return "kernel: UDP send";
  if (has(/^__sys_recv|^do_recvmmsg$|^udp_recvmsg$|recvmmsg/)) return "kernel: UDP receive";
  return has(/epoll|^ep_/) ? "kernel: epoll" : "kernel: other";
}

function compiledPart(symbol: string): Part {
  if (!symbol.startsWith("JS:")) return "Node and V8";
  if (symbol.includes("koffi")) return "koffi";
  const [, room] = ROOM.exec(symbol) ?? [];
  if (room === undefined) return / node:/.test(symbol) ? "Node's JavaScript" : "other rooms";
  return room === "stun" || room === "turn" || room === "relay" ? room : "other rooms";
}
