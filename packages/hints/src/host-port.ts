import { isIPv4, isIPv6 } from "node:net";
import { InvalidHintError, type InvalidHintCode } from "./hint-error.ts";

/** A host and a port as a hint spells them, checked. */
export interface HostPort {
  /** Lower case; an IPv6 address without brackets. */
  readonly host: string;
  readonly kind: "ipv4" | "ipv6" | "name";
  /** 1–65535. */
  readonly port: number;
}

/** Where the text stands in its hint, so that an error names the right place. */
export interface HintPlace {
  readonly hint: string;
  /** Offset of the text within the hint. */
  readonly start: number;
}

/**
 * Reads `host:port` to its end: a dotted quad, an IPv6 address in brackets, or a DNS name, then a colon and a port.
 * Other spellings of addresses (`127.1`, `0x7f000001`, `2130706433`, zone identifiers) are refused.
 *
 * @throws InvalidHintError
 */
export function parseHostPort(text: string, place: HintPlace): HostPort {
  const { hostPort, end } = scanHostPort(text, place);
  if (end < text.length) fail("trailing-text", place, end);
  return hostPort;
}

/**
 * Reads `host:port`, then an optional path that starts with a slash (`/` if there is none).
 *
 * @throws InvalidHintError
 */
export function parseHostPortPath(text: string, place: HintPlace): HostPort & { readonly path: string } {
  const { hostPort, end } = scanHostPort(text, place);
  const path = text.slice(end);
  if (path !== "" && !path.startsWith("/")) fail("trailing-text", place, end);
  for (const mark of ["#", "\\", '"', "<", ">"]) {
    if (path.includes(mark)) fail("bad-path", place, end + path.indexOf(mark));
  }
  return { ...hostPort, path: path === "" ? "/" : path };
}

/** Writes a host and a port the way hints do: brackets around an IPv6 address. */
export function formatHostPort(host: string, port: number): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Reads a port number, 0–65535 with `allowZero`, else 1–65535. Nothing if it is not one. */
export function parsePort(text: string, options: { readonly allowZero?: boolean } = {}): number | undefined {
  if (text.length === 0 || text.length > 5) return undefined;
  let port = 0;
  for (let index = 0; index < text.length; index += 1) {
    const digit = text.charCodeAt(index) - 0x30;
    if (digit < 0 || digit > 9) return undefined;
    port = port * 10 + digit;
  }
  if (text.length > 1 && text.startsWith("0")) return undefined;
  return port > 65535 || (port === 0 && options.allowZero !== true) ? undefined : port;
}

/**
 * True for a host name of RFC 1123 §2.1: labels of letters, digits and hyphens, 63 and 253 characters at most. A name
 * whose last label is a number is not one: resolvers read it as an address.
 */
export function isDnsName(name: string): boolean {
  if (name.length === 0 || name.length > 253) return false;
  const labels = name.split(".");
  const last = labels.at(-1) ?? "";
  if (isNumeric(last)) return false;
  return labels.every((label) => isLabel(label));
}

function scanHostPort(text: string, place: HintPlace): { readonly hostPort: HostPort; readonly end: number } {
  const bracketed = text.startsWith("[");
  const hostEnd = bracketed ? text.indexOf("]") : indexOfAny(text, ":/");
  if (hostEnd < 0) fail(bracketed ? "bad-host" : "missing-port", place, text.length);
  const host = text.slice(bracketed ? 1 : 0, hostEnd).toLowerCase();
  if (host === "") fail("missing-host", place, 0);
  const kind = kindOf(host, bracketed, place);
  const colon = bracketed ? hostEnd + 1 : hostEnd;
  if (text[colon] !== ":") fail("missing-port", place, colon);
  let end = colon + 1;
  while (end < text.length && isDigit(text.charCodeAt(end))) end += 1;
  if (end === colon + 1) fail(end === text.length || text[end] === "/" ? "missing-port" : "bad-port", place, end);
  const port = parsePort(text.slice(colon + 1, end));
  if (port === undefined) fail("bad-port", place, colon + 1);
  return { hostPort: { host, kind, port }, end };
}

function kindOf(host: string, bracketed: boolean, place: HintPlace): HostPort["kind"] {
  if (bracketed) {
    if (!isIPv6(host) || host.includes("%")) fail("bad-host", place, 1);
    return "ipv6";
  }
  if (isIPv4(host)) return "ipv4";
  if (!isDnsName(host)) fail(isNumeric(host.slice(host.lastIndexOf(".") + 1)) ? "bad-host" : "bad-name", place, 0);
  return "name";
}

function isLabel(label: string): boolean {
  if (label.length === 0 || label.length > 63 || label.startsWith("-") || label.endsWith("-")) return false;
  for (let index = 0; index < label.length; index += 1) {
    const code = label.charCodeAt(index);
    const letter = (code >= 0x61 && code <= 0x7a) || (code >= 0x41 && code <= 0x5a);
    if (!letter && !isDigit(code) && code !== 0x2d) return false;
  }
  return true;
}

function isNumeric(label: string): boolean {
  const hexadecimal = label.startsWith("0x") || label.startsWith("0X");
  for (let index = hexadecimal ? 2 : 0; index < label.length; index += 1) {
    const code = label.charCodeAt(index) | 0x20;
    const digit = isDigit(label.charCodeAt(index));
    if (!digit && !(hexadecimal && code >= 0x61 && code <= 0x66)) return false;
  }
  return true;
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

function indexOfAny(text: string, marks: string): number {
  for (let index = 0; index < text.length; index += 1) if (marks.includes(text.charAt(index))) return index;
  return -1;
}

function fail(code: InvalidHintCode, place: HintPlace, offset: number): never {
  throw new InvalidHintError({ code, hint: place.hint, offset: place.start + offset });
}
