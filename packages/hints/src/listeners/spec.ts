import { isIP } from "node:net";
import { printable } from "../hint-error.ts";
import { parsePort } from "../host-port.ts";

/** A listener spec split at its first colon. Local configuration: it may say anything that its plug-in reads. */
export interface ListenSpec {
  /** As given. */
  readonly text: string;
  readonly type: string;
  readonly rest: string;
}

/** A listener spec that cannot be read. */
export class InvalidSpecError extends TypeError {
  override readonly name = "InvalidSpecError";

  constructor(spec: string, problem: string) {
    super(`Cannot listen on "${printable(spec)}": ${problem}`);
  }
}

/** Splits a spec. @throws InvalidSpecError */
export function parseListenSpec(text: string): ListenSpec {
  const colon = text.indexOf(":");
  if (colon <= 0) throw new InvalidSpecError(text, "write a type, a colon and where, as in tcp:0");
  return { text, type: text.slice(0, colon), rest: text.slice(colon + 1) };
}

/** Where a TCP listener binds. */
export interface BindAddress {
  /** A literal address; nothing means every address of the machine. */
  readonly host: string | undefined;
  /** 0 lets the system choose. */
  readonly port: number;
  /** What follows the port, if the plug-in takes a path. */
  readonly path: string;
}

/** Reads `PORT`, `ADDRESS:PORT` or `[ADDRESS]:PORT`, and a path if one is allowed. @throws InvalidSpecError */
export function parseBindAddress(spec: ListenSpec, options: { readonly path: boolean }): BindAddress {
  const slash = spec.rest.indexOf("/");
  const authority = slash < 0 ? spec.rest : spec.rest.slice(0, slash);
  const path = slash < 0 ? "/" : spec.rest.slice(slash);
  if (slash >= 0 && !options.path) throw new InvalidSpecError(spec.text, `${spec.type}: takes no path`);
  const colon = authority.lastIndexOf(":");
  const port = parsePort(authority.slice(colon + 1), { allowZero: true });
  if (port === undefined) throw new InvalidSpecError(spec.text, "the port must be a number from 0 to 65535");
  if (colon < 0) return { host: undefined, port, path };
  const written = authority.slice(0, colon);
  const host = written === "localhost" ? "127.0.0.1" : written.replace(/^\[(.*)\]$/u, "$1");
  if (isIP(host) === 0 || host.includes("%") || (isIP(host) === 6) !== written.startsWith("[")) {
    throw new InvalidSpecError(
      spec.text,
      "bind to a literal address ([…] around IPv6), or leave it out for every address",
    );
  }
  return { host, port, path };
}
