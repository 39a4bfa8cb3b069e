import { isIP } from "node:net";
import { createPeerPolicy } from "@turnpike/turn";

/** A value is not of its form. The message says what is wrong and what would be right, without the key's name. */
export class InvalidValueError extends Error {
  override readonly name = "InvalidValueError";
}

/** Where the relay takes clients. */
export interface ListenSpec {
  readonly transport: "udp";
  /** An IP address without brackets. */
  readonly address: string;
  /** 0 lets the system choose. */
  readonly port: number;
}

/** A public address, and the address of this machine that it leads to. */
export interface ExternalAddress {
  readonly public: string;
  /** Absent: every relay address of the same family. */
  readonly private?: string;
}

/** A static user as `--user` and `[[turn.user]]` write it. */
export interface UserEntry {
  readonly name: string;
  readonly password?: string;
  readonly key?: string;
}

const DEFAULT_PORT = 3478;

/** Parses `udp:ADDRESS[:PORT]`; IPv6 addresses stand in brackets; the port is 3478 unless given. */
export function parseListenSpec(text: string): ListenSpec {
  const match = /^([a-z]+):(\[[^\]]*\]|[^:[\]]*)(?::(.*))?$/i.exec(text);
  if (match === null) {
    throw new InvalidValueError(
      `"${text}" is not of the form udp:ADDRESS:PORT, such as udp:0.0.0.0:3478 or udp:[::]:3478`,
    );
  }
  const [, transport = "", host = "", port] = match;
  if (transport !== "udp") {
    throw new InvalidValueError(
      `transport "${transport}" in "${text}" is not supported by this version; supported: udp`,
    );
  }
  return {
    transport,
    address: parseHost(host, text),
    port: port === undefined ? DEFAULT_PORT : parsePort(port, text),
  };
}

/** Writes what {@link parseListenSpec} reads. */
export function formatListenSpec(spec: ListenSpec): string {
  return `${spec.transport}:${formatHost(spec.address)}:${spec.port}`;
}

/** An address as it stands before `:PORT`: IPv6 in brackets. */
export function formatHost(address: string): string {
  return isIP(address) === 6 ? `[${address}]` : address;
}

/** Parses an IPv4 or IPv6 address without a zone. */
export function parseAddress(text: string): string {
  if (isIP(text) === 0 || text.includes("%")) {
    throw new InvalidValueError(`"${text}" is not an IP address`);
  }
  return text;
}

/** Parses `PUBLIC` or `PUBLIC/PRIVATE`, both of one family. */
export function parseExternalAddress(text: string): ExternalAddress {
  const [outside = "", inside, ...rest] = text.split("/");
  if (rest.length > 0) {
    throw new InvalidValueError(`"${text}" is not of the form PUBLIC or PUBLIC/PRIVATE`);
  }
  parseAddress(outside);
  if (inside === undefined) {
    return { public: outside };
  }
  if (isIP(parseAddress(inside)) !== isIP(outside)) {
    throw new InvalidValueError(`"${text}" mixes IPv4 and IPv6: both addresses must be of one family`);
  }
  return { public: outside, private: inside };
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
export function parseStoredKey(text: string): string {
  if (!/^(?:[0-9a-f]{32}|[0-9a-f]{64})$/i.test(text)) {
    throw new InvalidValueError("must be 32 hexadecimal digits (MD5 key) or 64 (SHA-256 key)");
  }
  return text.toLowerCase();
}

/** Checks a peer range: `A`, `A/N` or `A-B`. */
export function parsePeerRange(text: string): string {
  try {
    createPeerPolicy({ deny: [text] });
    return text;
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new InvalidValueError(error.message);
  }
}

function parseHost(host: string, text: string): string {
  const bracketed = host.startsWith("[");
  const address = bracketed ? host.slice(1, -1) : host;
  if (isIP(address) !== (bracketed ? 6 : 4) || address.includes("%")) {
    throw new InvalidValueError(
      `"${host}" in "${text}" is not an IP address; use 0.0.0.0 or [::] for every address of the machine`,
    );
  }
  return address;
}

function parsePort(port: string, text: string): number {
  const value = Number(port);
  if (!/^\d{1,5}$/.test(port) || value > 65_535) {
    throw new InvalidValueError(`"${port}" in "${text}" is not a port: use 0 to 65535`);
  }
  return value;
}
