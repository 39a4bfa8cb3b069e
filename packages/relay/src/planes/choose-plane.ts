import { type Libc, loadLibc, type LibcUnavailable } from "../libc/libc.ts";
import { testLibc } from "../libc/self-test.ts";
import type { Logger } from "../logger.ts";

/** The plane that will relay. */
export type PlaneChoice =
  | { readonly plane: "portable" }
  | {
      /** `kernel`: batched, for what is not relayed in the kernel. */
      readonly plane: "batched" | "kernel";
      readonly libc: Libc;
      /** Whether aggregates may be used. */
      readonly aggregate: boolean;
    };

/** What {@link choosePlane} goes by. */
export interface PlaneChoiceOptions {
  /** `auto`: batched if the machine passes the self-test, else portable. */
  readonly wanted: "auto" | "portable" | "batched" | "kernel";
  readonly logger: Logger;
  /** Default {@link loadLibc}. */
  readonly load?: () => Libc | LibcUnavailable;
}

/** The plane that was asked for can't run here. */
export class PlaneUnavailableError extends Error {
  override readonly name = "PlaneUnavailableError";
}

/**
 * Finds out which plane this machine can run. A surprise (calls that don't do what they should) is a warning; that the
 * machine is another is none.
 *
 * @throws PlaneUnavailableError if `batched` or `kernel` is wanted and can't be had: the message says why, and the way out.
 */
export function choosePlane(options: PlaneChoiceOptions): PlaneChoice {
  const { wanted, logger } = options;
  if (wanted === "portable") return { plane: "portable" };
  const libc = (options.load ?? loadLibc)();
  if ("unavailable" in libc) {
    refuse(wanted, libc.unavailable);
    logger.info({ reason: libc.unavailable }, "Relaying by the portable plane, which is slower");
    return { plane: "portable" };
  }
  const tested = testLibc(libc);
  if (tested.kind === "untrusted") {
    refuse(wanted, `the self-test failed: ${tested.reason}`);
    logger.warn({ reason: tested.reason }, "Batched system calls fail their self-test: relaying by the portable plane");
    return { plane: "portable" };
  }
  if (!tested.aggregates) {
    logger.warn({ reason: tested.aggregatesReason }, "UDP aggregates fail their self-test on this kernel: not used");
  }
  return { plane: wanted === "kernel" ? "kernel" : "batched", libc, aggregate: tested.aggregates };
}

function refuse(wanted: PlaneChoiceOptions["wanted"], reason: string): void {
  if (wanted === "batched" || wanted === "kernel") {
    throw new PlaneUnavailableError(`Cannot use the ${wanted} plane: ${reason}; use "auto" or "portable"`);
  }
}
