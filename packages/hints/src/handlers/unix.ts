import type { HintHandler } from "../handler.ts";
import { InvalidHintError } from "../hint-error.ts";
import { placeOf } from "./tcp.ts";

/** Longest path of a Unix socket, in bytes (`sun_path` less its final NUL, the smallest of common platforms). */
export const maximumUnixPathLength = 103;

/** `unix:/path`: a socket of this machine. Policy must permit it (`unixSockets`). */
export function createUnixHandler(): HintHandler {
  return {
    toEndpoint(context) {
      const path = checkUnixPath(context.hint.rest, placeOf(context));
      return { lane: "local", connect: ({ signal }) => context.network.dial({ kind: "unix", path }, { signal }) };
    },
  };
}

/**
 * Checks the path of a Unix socket: absolute, short enough, no `..`.
 *
 * @throws InvalidHintError
 */
export function checkUnixPath(path: string, place: { readonly hint: string; readonly start: number }): string {
  const bad = !path.startsWith("/") || path.length > maximumUnixPathLength || path.endsWith("/");
  if (bad || path.split("/").includes("..")) {
    throw new InvalidHintError({ code: "bad-path", hint: place.hint, offset: place.start });
  }
  return path;
}
