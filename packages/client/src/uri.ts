import { formatIpAddress, parseIpAddress, type IpAddress } from "@turnpike/stun";

/** Schemes of RFC 7064 and RFC 7065. */
export type UriScheme = "stun" | "stuns" | "turn" | "turns";

/** The `transport` parameter of RFC 7065 §3.1, and `ws` for WebSocket as an extension (transport-ext). */
export type UriTransport = "udp" | "tcp" | "ws";

/** A STUN or TURN URI, taken apart. */
export interface TurnUri {
  readonly scheme: UriScheme;
  /** A DNS name in lower case, or an IP address in its one text form, without brackets. */
  readonly host: string;
  /** The address, if `host` is one. */
  readonly ip: IpAddress | undefined;
  /** 1–65535; undefined: found by DNS, or the default (3478, with TLS or DTLS 5349). */
  readonly port: number | undefined;
  /** Undefined: whatever the client prefers. */
  readonly transport: UriTransport | undefined;
}

/** What can be wrong with a URI. */
export type UriErrorCode =
  | "tooLong"
  | "unknownScheme"
  | "hierarchical"
  | "userInformation"
  | "badHost"
  | "badPort"
  | "badQuery"
  | "unknownTransport"
  | "transportNotAllowed"
  | "trailing";

/** A text that is no STUN or TURN URI. `offset`: where, in UTF-16 units. */
export class UriError extends TypeError {
  override readonly name = "UriError";
  readonly code: UriErrorCode;
  readonly offset: number;

  constructor(text: string, code: UriErrorCode, offset: number, what: string) {
    super(`Cannot parse URI ${JSON.stringify(shorten(text))}: ${what} (at offset ${offset})`);
    this.code = code;
    this.offset = offset;
  }
}

/** More than any DNS name, port and transport need. */
const LONGEST_URI = 512;
const SCHEMES: readonly UriScheme[] = ["stun", "stuns", "turn", "turns"];
const TRANSPORTS: readonly UriTransport[] = ["udp", "tcp", "ws"];

/**
 * Parses `turn:host[:port][?transport=udp|tcp|ws]`, `turns:…`, `stun:host[:port]` and `stuns:…` (RFC 7064 §3.1,
 * RFC 7065 §3.1). Strict: no `//`, no user, no path, no escapes, no empty port.
 *
 * @throws UriError
 */
export function parseUri(text: string): TurnUri {
  if (text.length > LONGEST_URI)
    throw new UriError(text, "tooLong", LONGEST_URI, `longer than ${LONGEST_URI} characters`);
  const colon = text.indexOf(":");
  const name = text.slice(0, Math.max(0, colon)).toLowerCase();
  const scheme = SCHEMES.find((known) => known === name);
  if (scheme === undefined) {
    throw new UriError(text, "unknownScheme", 0, "expected stun:, stuns:, turn: or turns: at the beginning");
  }
  const start = colon + 1;
  if (text.startsWith("//", start)) {
    throw new UriError(text, "hierarchical", start, `no "//" stands after the scheme: write ${scheme}:host`);
  }
  const question = text.indexOf("?", start);
  const end = question < 0 ? text.length : question;
  const at = text.slice(0, end).indexOf("@", start);
  if (at >= 0) {
    throw new UriError(text, "userInformation", at, "a user name doesn't stand in the URI: give it in the options");
  }
  const { host, ip, next } = parseHost(text, start, end);
  const port = parsePort(text, next, end);
  const transport = question < 0 ? undefined : parseTransport(text, question, scheme);
  return { scheme, host, ip, port, transport };
}

/** The one text form of a URI. */
export function formatUri(uri: TurnUri): string {
  const host = uri.ip?.family === 6 ? `[${uri.host}]` : uri.host;
  const port = uri.port === undefined ? "" : `:${uri.port}`;
  return `${uri.scheme}:${host}${port}${uri.transport === undefined ? "" : `?transport=${uri.transport}`}`;
}

/** Whether a URI asks for TLS or DTLS. */
export function isSecure({ scheme }: TurnUri): boolean {
  return scheme === "turns" || scheme === "stuns";
}

/** The port of a URI that names none: 3478, of `turns:` and `stuns:` 5349 (RFC 7065 §3.2). */
export function defaultPort(uri: TurnUri): number {
  return isSecure(uri) ? 5349 : 3478;
}

/** The relay of `turn:` hints. @throws UriError if it is no URI; TypeError if it is not one of TURN over a stream */
export function streamRelayOf(relay: string | TurnUri): TurnUri {
  const uri = typeof relay === "string" ? parseUri(relay) : relay;
  if (!uri.scheme.startsWith("turn")) {
    throw new TypeError(`Cannot relay by a ${uri.scheme}: URI: expected turn: or turns:`);
  }
  if (uri.transport === "udp") {
    throw new TypeError(`Cannot relay by ${formatUri(uri)}: streams need ?transport=tcp`);
  }
  return uri;
}

/** Host and port of the relay of `turn:` hints, for those who judge which way TCP takes to it. */
export function turnHintServer(relay: string): { readonly host: string; readonly port: number } {
  return serverOf(streamRelayOf(relay));
}

/** Host and port of a relay. */
export function serverOf(relay: TurnUri): { readonly host: string; readonly port: number } {
  return { host: relay.host, port: relay.port ?? defaultPort(relay) };
}

interface Host {
  readonly host: string;
  readonly ip: IpAddress | undefined;
  readonly next: number;
}

function parseHost(text: string, start: number, end: number): Host {
  if (text[start] === "[") {
    const close = text.indexOf("]", start);
    const ip = close < 0 || close >= end ? undefined : parseIpAddress(text.slice(start + 1, close));
    if (ip?.family !== 6) throw new UriError(text, "badHost", start, "expected an IPv6 address in brackets");
    return { host: formatIpAddress(ip), ip, next: close + 1 };
  }
  const colon = text.indexOf(":", start);
  const next = colon < 0 || colon >= end ? end : colon;
  const host = text.slice(start, next).toLowerCase();
  if (host === "") throw new UriError(text, "badHost", start, "the host is missing");
  const wrong = host.search(/[^a-z0-9._-]/u);
  if (wrong >= 0) {
    throw new UriError(
      text,
      "badHost",
      start + wrong,
      "a host has letters, digits, dots, hyphens and underscores only",
    );
  }
  if (next < end && text.slice(next + 1, end).includes(":")) {
    throw new UriError(text, "badHost", start, "an IPv6 address stands in brackets, and a name has no colon");
  }
  const ip = parseIpAddress(host);
  if (ip !== undefined) return { host: formatIpAddress(ip), ip, next };
  const labels = (host.endsWith(".") ? host.slice(0, -1) : host).split(".");
  let offset = start;
  for (const label of labels) {
    if (label === "" || label.length > 63 || label.startsWith("-") || label.endsWith("-")) {
      throw new UriError(
        text,
        "badHost",
        offset,
        "a part between dots has 1 to 63 characters and no hyphen at its ends",
      );
    }
    offset += label.length + 1;
  }
  if (host.length > 254) throw new UriError(text, "badHost", start, "a DNS name has at most 253 characters");
  // No top-level domain is a number: this is a mistyped address.
  if (/^[0-9]+$/u.test(labels.at(-1)!))
    throw new UriError(text, "badHost", start, "neither an IPv4 address nor a name");
  return { host, ip: undefined, next };
}

function parsePort(text: string, start: number, end: number): number | undefined {
  if (start === end) return undefined;
  if (text[start] !== ":") throw new UriError(text, "trailing", start, "expected a port, ?transport= or the end");
  const digits = text.slice(start + 1, end);
  const port = /^[0-9]{1,5}$/u.test(digits) ? Number(digits) : 0;
  if (port < 1 || port > 65_535) {
    throw new UriError(text, "badPort", start + 1, "expected a port from 1 to 65535");
  }
  return port;
}

function parseTransport(text: string, question: number, scheme: UriScheme): UriTransport {
  if (scheme === "stun" || scheme === "stuns") {
    throw new UriError(text, "transportNotAllowed", question, `${scheme}: has no parameters (RFC 7064)`);
  }
  const key = "transport=";
  if (
    !text
      .slice(question + 1)
      .toLowerCase()
      .startsWith(key)
  ) {
    throw new UriError(text, "badQuery", question + 1, "expected ?transport=udp, tcp or ws, and nothing else");
  }
  const start = question + 1 + key.length;
  const value = text.slice(start).toLowerCase();
  const transport = TRANSPORTS.find((known) => known === value);
  if (transport === undefined) {
    throw new UriError(text, "unknownTransport", start, "expected udp, tcp or ws as the transport");
  }
  return transport;
}

function shorten(text: string): string {
  return text.length > 100 ? `${text.slice(0, 100)}…` : text;
}
