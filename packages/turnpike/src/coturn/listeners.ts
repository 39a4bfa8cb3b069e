import { isIP } from "node:net";
import type { Draft } from "./draft.ts";
import { isOn, wholeNumber, type CoturnEntry } from "./parse.ts";

/** Keys that make sense only together: addresses, ports, transports and the certificate. */
export const LISTENER_KEYS: ReadonlySet<string> = new Set([
  "listening-ip",
  "listening-port",
  "tls-listening-port",
  "no-udp",
  "no-tcp",
  "no-tls",
  "no-dtls",
  "dtls",
  "cert",
  "pkey",
  "pkey-pwd",
  "rfc5780",
  "alt-listening-port",
]);

const PORT = 3478;
const TLS_PORT = 5349;
const EVERYWHERE = ["0.0.0.0", "::"];

/** Sets where clients are served, and the certificate for those that come by TLS or DTLS. */
export function translateListeners(entries: readonly CoturnEntry[], draft: Draft): void {
  const last = (key: string): CoturnEntry | undefined => entries.findLast((entry) => entry.key === key);
  const isSet = (key: string): boolean => {
    const entry = last(key);
    return entry !== undefined && isOn(entry.value);
  };
  const portOf = (key: string, usual: number): number => {
    const entry = last(key);
    if (entry === undefined) return usual;
    const port = wholeNumber(entry.value);
    if (port !== undefined && port > 0 && port <= 65_535) return port;
    draft.warn(entry.line, `${key}: left out: there is no such port; ${usual} is used`);
    return usual;
  };
  const isSecure = useCertificate({ last, isSet }, draft);
  const addresses = entries.filter(({ key, value, line }) => {
    if (key !== "listening-ip") return false;
    if (isIP(value) !== 0) return true;
    draft.warn(line, "listening-ip: left out: it is not an IP address");
    return false;
  });
  const port = portOf("listening-port", PORT);
  const discovery = last("rfc5780");
  if (discovery !== undefined && isOn(discovery.value)) {
    const ports = [port, portOf("alt-listening-port", port + 1)] as const;
    discover({ line: discovery.line, addresses: addresses.map(({ value }) => value), ports }, draft);
  }
  const tlsPort = portOf("tls-listening-port", TLS_PORT);
  const transports = [
    ...(isSet("no-udp") ? [] : [{ transport: "udp", port }]),
    ...(isSet("no-tcp") ? [] : [{ transport: "tcp", port }]),
    // A tcp: listener tells TLS by its first bytes.
    ...(isSecure && !isSet("no-tls") && (isSet("no-tcp") || tlsPort !== port)
      ? [{ transport: "tls", port: tlsPort }]
      : []),
    ...(isSecure && !isSet("no-dtls") && (isSet("no-udp") || tlsPort !== port)
      ? [{ transport: "dtls", port: tlsPort }]
      : []),
  ];
  const line = entries[0]?.line ?? 0;
  if (isSecure && tlsPort === port && !isSet("no-udp") && !isSet("no-dtls")) {
    draft.warn(
      last("tls-listening-port")?.line ?? line,
      "tls-listening-port: DTLS needs a port of its own: it is left out",
    );
  }
  if (transports.length === 0) {
    draft.warn(line, "no transport is left to listen on: the default listeners are used");
    return;
  }
  for (const at of transports) {
    const where = addresses.length === 0 ? EVERYWHERE.map((value) => ({ value, line })) : addresses;
    for (const address of where) {
      const host = address.value.includes(":") ? `[${address.value}]` : address.value;
      draft.add(["relay", "listen"], `${at.transport}:${host}:${at.port}`, address.line);
    }
  }
}

/** NAT discovery needs two addresses of one family. */
function discover(
  given: {
    readonly line: number;
    readonly addresses: readonly string[];
    readonly ports: readonly [number, number];
  },
  draft: Draft,
): void {
  const { line, addresses, ports } = given;
  const ofFamily = (family: number): readonly string[] => addresses.filter((address) => isIP(address) === family);
  const pair = [ofFamily(4), ofFamily(6)].find(({ length }) => length >= 2)?.slice(0, 2);
  if (pair === undefined) {
    draft.warn(line, "rfc5780: not imported: it needs two addresses of one family by listening-ip");
    return;
  }
  draft.set(["relay", "nat_discovery", "addresses"], pair, line);
  if (ports[0] !== PORT || ports[1] !== PORT + 1) draft.set(["relay", "nat_discovery", "ports"], ports, line);
}

/** Whether TLS or DTLS is served. */
function useCertificate(
  given: { readonly last: (key: string) => CoturnEntry | undefined; readonly isSet: (key: string) => boolean },
  draft: Draft,
): boolean {
  const cert = given.last("cert");
  const key = given.last("pkey");
  const password = given.last("pkey-pwd");
  const isOff = given.isSet("no-tls") && given.isSet("no-dtls");
  for (const entry of [cert, key]) {
    if (entry === undefined) continue;
    if (isOff) draft.note(entry.line, `${entry.key}: not needed, since no-tls and no-dtls are set`);
    else if (cert === undefined || key === undefined) {
      draft.warn(entry.line, `${entry.key}: left out: cert and pkey are needed together; TLS and DTLS are not served`);
    }
  }
  if (cert === undefined || key === undefined || isOff) return false;
  if (password !== undefined) {
    const decrypt = "openssl pkey -in OLD -out NEW";
    draft.warn(password.line, `pkey-pwd: not imported: the key must not be encrypted; decrypt it by ${decrypt}`);
  }
  draft.set(["tls", "cert"], cert.value, cert.line);
  draft.set(["tls", "key"], key.value, key.line);
  const tls = given.last("no-tls");
  if (tls !== undefined && given.isSet("no-tls") && !given.isSet("no-tcp")) {
    draft.warn(tls.line, "no-tls: tcp: listeners take TLS all the same while there is a certificate");
  }
  return true;
}
