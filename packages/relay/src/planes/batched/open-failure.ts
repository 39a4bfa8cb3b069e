import * as L from "../../libc/layout.ts";
import type { OpenFailure } from "../plane.ts";

/** What an error number of `socket` or `bind` means. */
export function openFailure(errno: number): OpenFailure {
  switch (errno) {
    case L.EADDRINUSE:
      return "inUse";
    case L.EADDRNOTAVAIL:
    case L.EAFNOSUPPORT:
      return "addressUnavailable";
    case L.EPERM:
    case L.EACCES:
      return "notPermitted";
    case L.EMFILE:
    case L.ENFILE:
    case L.ENOMEM:
    case L.ENOBUFS:
      return "noResources";
    default:
      return "failed";
  }
}
