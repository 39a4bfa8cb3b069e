import { type Frame, partOf, type Sample } from "./samples.ts";

/** What the time of a request is spent on, in the order of the tables. */
export const requestParts = [
  "kernel: UDP",
  "kernel: sockets made and ended",
  "kernel: epoll",
  "kernel: threads",
  "kernel: write",
  "kernel: other",
  "messages between threads",
  "V8's garbage collection",
  "V8's compilers",
  "cryptography",
  "Node and V8",
  "koffi",
  "C library",
  "stun",
  "turn",
  "relay",
  "other rooms",
  "its own code",
] as const;
export type RequestPart = (typeof requestParts)[number];

/** A stretch of time, by the samples' clock. */
interface Stretch {
  readonly fromNs: number;
  readonly toNs: number;
}

// A sample on the way out of a call has no frame of the kernel's that tells which, but the C library's that made it.
const KERNEL: readonly (readonly [RegExp, RequestPart])[] = [
  [/^net_rx_action$|sendmm?sg|recvmm?sg|_(?:sendto|recvfrom|send|recv)$/, "kernel: UDP"],
  [/epoll_wait|^ep_poll$/, "kernel: epoll"],
  [/_socket$|_bind$|sockopt|epoll_ctl|_close$|^__fput/, "kernel: sockets made and ended"],
  [/futex|eventfd|_lll_lock_|^pthread_/, "kernel: threads"],
  [/ksys_write|libc_write$/, "kernel: write"],
];
const MESSAGES = /^node::worker::Message|^v8::Value(?:Des|S)erializer|^uv__?async/;
const CRYPTOGRAPHY = /^node::crypto::|^JS:.* node:internal\/crypto\//;

/** What the time of a request's sample was spent on. */
export function requestPartOf(frames: readonly Frame[]): RequestPart {
  const part = partOf(frames);
  if (part === "V8's garbage collection" || part === "V8's compilers") return part;
  // Up to the innermost JavaScript: what Node does for its caller, the C library and the kernel included.
  const caller = frames.findIndex(({ symbol }) => symbol.startsWith("JS:"));
  const called = caller === -1 ? frames : frames.slice(0, caller + 1);
  const has = (pattern: RegExp): boolean => called.some(({ symbol }) => pattern.test(symbol));
  if (has(MESSAGES)) return "messages between threads";
  switch (part) {
    case "kernel: UDP receive":
    case "kernel: UDP send":
    case "kernel: delivery on loopback":
    case "kernel: epoll":
    case "kernel: other":
      return KERNEL.find(([pattern]) => has(pattern))?.[1] ?? "kernel: other";
    case "Node and V8":
    case "Node's JavaScript":
    case "C library":
      if (has(CRYPTOGRAPHY)) return "cryptography";
      return part === "C library" ? part : "Node and V8";
    default:
      return part;
  }
}

/** The samples of each stretch. Both are in the order of time, and stretches don't overlap; the rest is left out. */
export function samplesOf<S extends Stretch>(
  samples: readonly Sample[],
  stretches: readonly S[],
): readonly (readonly [S, Sample])[] {
  let next = 0;
  return samples.flatMap((sample): readonly (readonly [S, Sample])[] => {
    while (next < stretches.length && stretches[next]!.toNs < sample.atNs) next++;
    const stretch = stretches[next];
    return stretch === undefined || sample.atNs < stretch.fromNs ? [] : [[stretch, sample]];
  });
}
