import type { Readable, Writable } from "node:stream";

/** What a command needs of the process around it, so that tests can give another. */
export interface World {
  /** Writes to standard output: results only. */
  readonly out: (text: string) => void;
  /** Writes to standard error: messages and the log. */
  readonly err: (text: string) => void;
  /** Standard input and output as bytes. Called once, by a command that carries them: input flows from then on. */
  readonly streams: () => { readonly input: Readable; readonly output: Writable };
  readonly isOutTerminal: boolean;
  readonly isErrTerminal: boolean;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** @throws an error with a `code`, as `node:fs` does. */
  readonly readFile: (path: string) => string;
  /** Writes a file that isn't there, for its owner's eyes only. @throws an error with a `code`: `EEXIST` if it is there */
  readonly writeNewFile: (path: string, text: string) => void;
  readonly unixMs: () => number;
  /** Cryptographically strong random bytes. */
  readonly random: (length: number) => Uint8Array;
  /** Calls back at each SIGTERM or SIGINT until the returned function is called. */
  readonly onStopSignal: (listener: (signal: string) => void) => () => void;
  /** Calls back at each SIGHUP until the returned function is called. */
  readonly onReloadSignal: (listener: () => void) => () => void;
  /** A text that is another whenever the file of this name is another; undefined if there is none. */
  readonly fileState: (path: string) => string | undefined;
  /** Calls back after each such interval, until the returned function is called. Keeps no process alive. */
  readonly every: (intervalMs: number, callback: () => void) => () => void;
  /** Ends the process at once. */
  readonly exitNow: (code: number) => void;
  readonly version: string;
}

/** Whether text for `isTerminal` may be coloured (https://no-color.org). */
export function usesColors(world: World, isTerminal: boolean): boolean {
  return isTerminal && (world.environment["NO_COLOR"] ?? "") === "" && world.environment["TERM"] !== "dumb";
}
