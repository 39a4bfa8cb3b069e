import {
  ConnectError,
  InvalidHintError,
  InvalidReferenceError,
  InvalidSpecError,
  ListenError,
  PolicyError,
  RevealError,
  SecretFileError,
} from "@turnpike/hints";
import { CommandError } from "./errors.ts";

/** An error of the hints room with the exit code that it means; others as they are. */
export function hintCommandError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const exitCode = exitCodeOf(error);
  return exitCode === undefined ? error : new CommandError(error.message, { exitCode, cause: error });
}

function exitCodeOf(error: Error): 1 | 2 | undefined {
  if (error instanceof ConnectError) {
    const isWrongUse = error.code !== "stopped" && error.errors.every((cause) => isUnusable(cause));
    return isWrongUse ? 2 : 1;
  }
  if (error instanceof ListenError) return error.failures.every(({ cause }) => isUnusable(cause)) ? 2 : 1;
  if (error instanceof RevealError || isUnusable(error)) return 2;
  // The rooms below throw these for what can't be told from a single value of the configuration.
  if (error instanceof TypeError || error instanceof RangeError) return 2;
  if (error instanceof SecretFileError || "code" in error) return 1;
  return undefined;
}

/** Wrong from the start: no network could make it good. */
function isUnusable(error: unknown): boolean {
  const wrongText = error instanceof InvalidHintError || error instanceof InvalidReferenceError;
  return wrongText || error instanceof InvalidSpecError || error instanceof PolicyError;
}
