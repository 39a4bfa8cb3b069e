import { isIP } from "node:net";
// The rooms' entries for texts: to read a configuration takes no relay, client or connector.
import { turnHintServer } from "@turnpike/client/uri";
import { createAddressPolicy, InvalidHintError, parseHint, parseTarget } from "@turnpike/hints/text";
import {
  isRelayEventType,
  parseExternalAddress,
  parseListenSpec,
  parseRedirectServer,
  RELAY_EVENT_TYPES,
} from "@turnpike/relay/settings";
import { createPeerPolicy } from "@turnpike/turn/peer-policy";

/** A value is not of its form. The message says what is wrong and what would be right, without the key's name. */
export class InvalidValueError extends Error {
  override readonly name = "InvalidValueError";
}

/** A static user as `--user` and `[[turn.user]]` write it. */
export interface UserEntry {
  readonly name: string;
  readonly password?: string;
  readonly key?: string;
}

/** Checks `TRANSPORT:ADDRESS:PORT`; IPv6 addresses stand in brackets. */
export function checkListenSpec(text: string): string {
  const port = outOfRangePort(text);
  if (port !== undefined)
    throw new InvalidValueError(`there is no port ${port}: ports go from 0 (any free one) to 65535`);
  return checkBy(parseListenSpec, text);
}

/** The listening addresses that a port alone stands for. */
export function listenOnPort(port: string): readonly string[] {
  if (!/^\d{1,5}$/.test(port) || Number(port) < 1 || Number(port) > LAST_PORT) {
    throw new InvalidValueError("must be a port from 1 to 65535");
  }
  return ["udp", "tcp"].flatMap((transport) => [`${transport}:0.0.0.0:${port}`, `${transport}:[::]:${port}`]);
}

const LAST_PORT = 65_535;

/** The port at the end of a text, if it is a number that no port has. */
function outOfRangePort(text: string): string | undefined {
  const digits = /:(\d{1,20})$/.exec(text)?.[1];
  return digits !== undefined && Number(digits) > LAST_PORT ? digits : undefined;
}

/** Checks an IPv4 or IPv6 address without a zone. */
export function checkAddress(text: string): string {
  if (isIP(text) === 0 || text.includes("%")) {
    throw new InvalidValueError(`"${text}" is not an IP address`);
  }
  return text;
}

/** Checks `PUBLIC` or `PUBLIC/PRIVATE`, both of one family. */
export function checkExternalAddress(text: string): string {
  return checkBy(parseExternalAddress, text);
}

/** Checks a peer range: `A`, `A/N` or `A-B`. */
export function checkPeerRange(text: string): string {
  return checkBy((range) => createPeerPolicy({ deny: [range] }), text);
}

/** Checks `ADDRESS:PORT` of another server. */
export function checkRedirectServer(server: string): string {
  return checkBy(parseRedirectServer, server);
}

/** Checks a prefix that hints may or may not reach: `A` or `A/N`. */
export function checkAddressPrefix(prefix: string): string {
  return checkBy((text) => createAddressPolicy({ allow: [text] }), prefix);
}

/** Says what is wrong with a hint to advertise, of whatever type. */
export function advertisedProblem(hint: string): string | undefined {
  try {
    parseHint(hint, { hasHandler: () => true });
    return undefined;
  } catch (error) {
    if (!(error instanceof InvalidHintError)) throw error;
    return error.message;
  }
}

/** Checks a port of Tor's: a literal address and a port, or `unix:/path`. */
export function checkTorTarget(target: string): string {
  if (parseTarget(target) !== undefined) return target;
  throw new InvalidValueError(`"${target}": write ADDRESS:PORT with a literal address, or unix:/path`);
}

/** Checks the URI of a relay for streams. */
export function checkRelayUri(uri: string): string {
  return checkBy(turnHintServer, uri);
}

/** A flag that turns a key off: `--hide-ip` is `reveal_ip_address = false`. */
export function invertedFlag(text: string): boolean {
  if (text === "true") return false;
  if (text === "false") return true;
  throw new InvalidValueError("must be true or false");
}

/** Parses `NAME:PASSWORD`, or `NAME:0xKEY` for a stored key. The message of an error never repeats the text. */
export function parseUser(text: string): UserEntry {
  const colon = text.indexOf(":");
  if (colon <= 0 || colon === text.length - 1) {
    throw new InvalidValueError("is not of the form NAME:PASSWORD or NAME:0xKEY");
  }
  const name = text.slice(0, colon);
  const rest = text.slice(colon + 1);
  return rest.startsWith("0x") ? { name, key: rest.slice(2) } : { name, password: rest };
}

/** Checks a stored key: 32 hexadecimal digits (MD5) or 64 (SHA-256). */
export function checkStoredKey(text: string): string {
  if (!/^(?:[0-9a-f]{32}|[0-9a-f]{64})$/i.test(text)) {
    throw new InvalidValueError("must be 32 hexadecimal digits (MD5 key) or 64 (SHA-256 key)");
  }
  return text.toLowerCase();
}

/** Checks the type of an event, or `all`. */
export function checkEventType(text: string): string {
  if (text !== "all" && !isRelayEventType(text)) {
    throw new InvalidValueError(`"${text}" is no event; there are all, ${RELAY_EVENT_TYPES.join(", ")}`);
  }
  return text;
}

/** Checks an absolute `http:` or `https:` URL without a user in it. */
export function checkHttpUrl(text: string): string {
  const url = URL.parse(text);
  if (url === null || !["http:", "https:"].includes(url.protocol) || url.username !== "" || url.password !== "") {
    throw new InvalidValueError("must be an http: or https: URL without a user or password in it");
  }
  return text;
}

/** The room that uses a value knows best whether it is well formed. */
function checkBy(parse: (text: string) => unknown, text: string): string {
  try {
    parse(text);
    return text;
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new InvalidValueError(error.message, { cause: error });
  }
}
