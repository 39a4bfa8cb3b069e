/** What a command needs of the process around it, so that tests can give another. */
export interface World {
  /** Writes to standard output: results only. */
  readonly out: (text: string) => void;
  /** Writes to standard error: messages and the log. */
  readonly err: (text: string) => void;
  readonly isOutTerminal: boolean;
  readonly isErrTerminal: boolean;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** @throws an error with a `code`, as `node:fs` does. */
  readonly readFile: (path: string) => string;
  readonly unixMs: () => number;
  /** Cryptographically strong random bytes. */
  readonly random: (length: number) => Uint8Array;
  /** Calls back at each SIGTERM or SIGINT until the returned function is called. */
  readonly onStopSignal: (listener: (signal: string) => void) => () => void;
  /** Ends the process at once. */
  readonly exitNow: (code: number) => void;
  readonly version: string;
}

/** Whether text for `isTerminal` may be coloured (https://no-color.org). */
export function usesColors(world: World, isTerminal: boolean): boolean {
  return isTerminal && (world.environment["NO_COLOR"] ?? "") === "" && world.environment["TERM"] !== "dumb";
}
