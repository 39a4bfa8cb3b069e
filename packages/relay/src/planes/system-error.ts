import type { OpenFailure } from "./plane.ts";

/** What a system's error code means for the opening of a socket. */
export function openFailure(code: string): OpenFailure {
  return OPEN_FAILURES[code] ?? "failed";
}

/** The system's code of an error, e.g. `EADDRINUSE`. */
export function errorCode(error: Error): string {
  return "code" in error && typeof error.code === "string" ? error.code : error.name;
}

const OPEN_FAILURES: Readonly<Record<string, OpenFailure>> = {
  EADDRINUSE: "inUse",
  EADDRNOTAVAIL: "addressUnavailable",
  EAFNOSUPPORT: "addressUnavailable",
  EACCES: "notPermitted",
  EPERM: "notPermitted",
  EMFILE: "noResources",
  ENFILE: "noResources",
  ENOBUFS: "noResources",
  ENOMEM: "noResources",
};
