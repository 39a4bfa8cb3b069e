import { parseUser } from "../config/values.ts";
import type { Draft } from "./draft.ts";
import { isOn, wholeNumber, type CoturnEntry } from "./parse.ts";

/** What one line does: it sets something in the draft, or says why it doesn't. */
export type Translate = (entry: CoturnEntry, draft: Draft) => void;

/** A key of coturn's. */
export interface CoturnKey {
  readonly translate: Translate;
  /** Whether every line of it counts; otherwise the last one does. */
  readonly isRepeatable?: true;
}

/** Bytes per second below which a limit makes no sense. */
const LEAST_BANDWIDTH = 1000;
const LONGEST_NONCE_LIFETIME = 3600;
const PERMISSION_LIFETIME = 300;

/** Every key that coturn 4.17 knows and what becomes of it, but for those of the listeners, which are read together. */
export const COTURN_KEYS: ReadonlyMap<string, CoturnKey> = new Map<string, CoturnKey>([
  ["relay-ip", item(["relay", "relay_addresses"])],
  ["external-ip", item(["relay", "external_addresses"])],
  ["realm", { translate: ({ value, line }, draft) => draft.set(["relay", "realm"], value, line) }],
  ["min-port", number(["relay", "port_range", 0])],
  ["max-port", number(["relay", "port_range", 1])],
  ["max-allocate-lifetime", number(["relay", "max_lifetime"])],
  ["channel-lifetime", number(["relay", "channel_lifetime"])],
  ["permission-lifetime", { translate: permissionLifetime }],
  ["stale-nonce", { translate: staleNonce }],
  ["relay-threads", { translate: relayThreads }],
  ["mobility", { translate: ({ value, line }, draft) => draft.set(["relay", "mobility"], isOn(value), line) }],
  ["no-tcp-relay", whenOn((draft, { line }) => draft.set(["relay", "tcp_relay"], false, line))],
  ["no-rfc5780", always("NAT discovery is off unless relay.nat_discovery names two addresses")],
  ["response-origin-only-with-rfc5780", always("RESPONSE-ORIGIN is told by NAT discovery alone")],
  ["alternate-server", { translate: () => {}, isRepeatable: true }],

  ["user", { translate: user, isRepeatable: true }],
  [
    "static-auth-secret",
    {
      translate: ({ value, line }, draft) => draft.add(["turn", "shared_secrets"], value, line),
      isRepeatable: true,
    },
  ],
  ["lt-cred-mech", always("credentials are always asked for")],
  ["use-auth-secret", always("the shared secret alone enables time-limited credentials")],
  ["rest-api-separator", { translate: restSeparator }],
  ["no-auth", lost("nobody is served without credentials; add a user or a shared secret")],

  ["allowed-peer-ip", item(["peers", "allow"])],
  ["denied-peer-ip", item(["peers", "deny"])],
  ["no-multicast-peers", always("multicast peers are always denied")],
  ["allow-loopback-peers", { translate: loopbackPeers }],

  ["user-quota", limit(["quota", "user"])],
  ["total-quota", limit(["quota", "total"])],
  ["max-bps", bandwidth(["quota", "allocation_bandwidth"])],
  ["bps-capacity", bandwidth(["quota", "total_bandwidth"])],

  ["prometheus", { translate: () => {} }],
  ["prometheus-port", { translate: () => {} }],
  ["prometheus-address", { translate: () => {} }],
  ["verbose", whenOn((draft, { line }) => draft.set(["log", "level"], "debug", line))],
  ["Verbose", whenOn((draft, { line }) => draft.set(["log", "level"], "debug", line))],

  ["fingerprint", always("answers have a FINGERPRINT")],
  ["no-software-attribute", dead()],
  ["prod", dead()],
  ["no-loopback-peers", dead()],
  ["no-sslv2", dead()],
  ["no-sslv3", dead()],
  ["no-tlsv1", dead()],
  ["no-tlsv1_1", dead()],
  ["dh2066", dead()],
  ["no-cli", dead()],
  ["no-stun-backward-compatibility", dead()],

  ["server-name", always("it matters to OAuth alone, which is set up by turn.oauth")],
  ["keep-address-family", { translate: addressFamily }],
  ["allocation-default-address-family", { translate: addressFamily }],
  ["no-udp-relay", lost("UDP allocations can't be turned off")],
  ["secure-stun", lost("STUN Binding requests are answered without credentials, as clients expect")],
  ["stun-only", lost("there is no STUN without TURN; without users and secrets nobody can allocate")],
  ["no-stun", lost("STUN Binding requests are always answered")],
  ["cipher-list", lost("ciphers are those of Node's TLS defaults")],
  ["dh566", always("TLS key exchange uses elliptic curves")],
  ["dh1066", always("TLS key exchange uses elliptic curves")],
  ["dh-file", always("TLS key exchange uses elliptic curves")],
  ["ec-curve-name", always("TLS chooses the curve")],
  ["no-tlsv1_2", lost("TLS 1.2 stays on beside 1.3")],
  ["CA-file", lost("clients aren't asked for certificates")],
  ["oauth", lost("set up turn.oauth with its keys by hand")],

  ...["userdb", "db", "psql-userdb", "sql-userdb", "mysql-userdb", "mongo-userdb", "redis-userdb"].map(
    (name): [string, CoturnKey] => [
      name,
      lost("users of a database aren't imported: name them by turn.user, or have turn.webhook ask for them"),
    ],
  ),
  ["secret-key-file", lost("users of a database aren't imported")],
  ["redis-statsdb", lost("traffic is told by metrics and events, not by Redis: see docs/metrics.md")],

  ...["log-file", "syslog", "simple-log", "no-stdout-log", "new-log-timestamp", "new-log-timestamp-format"].map(
    (name): [string, CoturnKey] => [name, always("the log goes to standard error: systemd or the container keeps it")],
  ),
  ["syslog-facility", always("the log goes to standard error: systemd or the container keeps it")],
  ["log-binding", always("set log.events for what is to be logged")],
  ["pidfile", always("the service manager knows the process")],
  ["daemon", always("the service manager starts it in the background")],
  ["proc-user", always("the service manager chooses the user")],
  ["proc-group", always("the service manager chooses the group")],
  ...["cli-ip", "cli-port", "cli-password", "cli-max-output-sessions"].map((name): [string, CoturnKey] => [
    name,
    always("administration is by `turnpike ctl`"),
  ]),
  ...["web-admin", "web-admin-ip", "web-admin-port", "web-admin-listen-on-workers"].map((name): [string, CoturnKey] => [
    name,
    always("administration is by `turnpike ctl` or the portal"),
  ]),
  ["ne", always("the plane is chosen by relay.plane")],
  ["cpus", always("threads are chosen by relay.threads")],
  ["udp-self-balance", always("the kernel spreads clients over the threads")],
  ["no-auth-pings", always("no database of secrets is asked")],
  ["no-dynamic-ip-list", always("the lists are those of this file")],
  ["no-dynamic-realms", always("there is one realm")],
  ["max-allocate-timeout", always("an allocation is made or refused at once")],

  ["listening-device", lost("name addresses by relay.listen")],
  ["relay-device", lost("name addresses by relay.relay_addresses")],
  ["aux-server", lost("add it to relay.listen")],
  ["alt-tls-listening-port", always("it matters to NAT discovery alone")],
  ["tcp-proxy-port", lost("name the proxies by relay.trusted_proxies: they may connect to any tcp: port")],
  ["tls-alternate-server", lost("clients over TLS are sent to the same servers as others")],
  ["check-origin-consistency", lost("the ORIGIN of requests isn't looked at")],
  ["acme-redirect", lost("serve ACME challenges elsewhere")],
  ["server-relay", lost("a peer must have a permission")],
]);

/** One item of a list, taken as it is written. */
function item(path: readonly string[]): CoturnKey {
  return { translate: ({ value, line }, draft) => draft.add(path, value, line), isRepeatable: true };
}

function number(path: readonly (string | number)[]): CoturnKey {
  return {
    translate: (entry, draft) => {
      const found = numberOf(entry, draft);
      if (found !== undefined) draft.set(path, found, entry.line);
    },
  };
}

/** A number of which 0 means no limit. */
function limit(path: readonly string[]): CoturnKey {
  return {
    translate: (entry, draft) => {
      const found = numberOf(entry, draft);
      if (found === 0) draft.note(entry.line, `${entry.key}: 0 is no limit, as it is without the key`);
      else if (found !== undefined) draft.set(path, found, entry.line);
    },
  };
}

function bandwidth(path: readonly string[]): CoturnKey {
  return {
    translate: (entry, draft) => {
      const found = numberOf(entry, draft);
      if (found === 0) draft.note(entry.line, `${entry.key}: 0 is no limit, as it is without the key`);
      if (found === undefined || found === 0) return;
      if (found < LEAST_BANDWIDTH) {
        draft.warn(
          entry.line,
          `${entry.key}: ${found} bytes per second is less than a packet: ${LEAST_BANDWIDTH} is set`,
        );
      }
      draft.set(path, Math.max(LEAST_BANDWIDTH, found), entry.line);
    },
  };
}

function numberOf({ key, value, line }: CoturnEntry, draft: Draft): number | undefined {
  const found = wholeNumber(value);
  if (found === undefined) draft.warn(line, `${key}: left out: a whole number is missing`);
  return found;
}

/** Says that nothing needs to be set. */
function always(reason: string): CoturnKey {
  return { translate: ({ key, line }, draft) => draft.note(line, `${key}: needs no setting: ${reason}`) };
}

function dead(): CoturnKey {
  return { translate: ({ key, line }, draft) => draft.note(line, `${key}: does nothing, with coturn either`) };
}

/** Says what there is in its place, unless the key is turned off. */
function lost(reason: string): CoturnKey {
  return {
    translate: ({ key, value, line }, draft) => {
      if (isOn(value)) draft.warn(line, `${key}: not imported: ${reason}`);
    },
  };
}

function whenOn(translate: (draft: Draft, entry: CoturnEntry) => void): CoturnKey {
  return {
    translate: (entry, draft) => {
      if (isOn(entry.value)) translate(draft, entry);
    },
  };
}

function user({ value, line }: CoturnEntry, draft: Draft): void {
  try {
    draft.add(["turn", "user"], parseUser(value), line);
  } catch {
    draft.warn(line, "user: left out: it is not of the form name:password or name:0xKEY");
  }
}

function staleNonce(entry: CoturnEntry, draft: Draft): void {
  const { value, line } = entry;
  if (value === "" || wholeNumber(value) === undefined) return;
  const seconds = Number(wholeNumber(value));
  if (seconds === 0 || seconds > LONGEST_NONCE_LIFETIME) {
    const what = seconds === 0 ? "nonces that never end" : `${seconds} seconds`;
    draft.warn(line, `stale-nonce: ${what}: the longest there is, ${LONGEST_NONCE_LIFETIME} seconds, is set`);
    draft.set(["relay", "nonce_lifetime"], LONGEST_NONCE_LIFETIME, line);
  } else {
    draft.set(["relay", "nonce_lifetime"], seconds, line);
  }
}

function permissionLifetime(entry: CoturnEntry, draft: Draft): void {
  const seconds = numberOf(entry, draft);
  if (seconds === undefined || seconds === PERMISSION_LIFETIME) return;
  draft.warn(entry.line, `permission-lifetime: not imported: it is ${PERMISSION_LIFETIME} seconds (RFC 8656 §9)`);
}

/** 0 is one thread for everything there. */
function relayThreads(entry: CoturnEntry, draft: Draft): void {
  const threads = numberOf(entry, draft);
  if (threads !== undefined) draft.set(["relay", "threads"], Math.max(1, threads), entry.line);
}

function restSeparator({ value, line }: CoturnEntry, draft: Draft): void {
  if (value === "" || value.startsWith(":")) return;
  draft.warn(line, 'rest-api-separator: not imported: time-limited names have ":" between time and user');
}

function loopbackPeers(entry: CoturnEntry, draft: Draft): void {
  if (!isOn(entry.value)) return;
  for (const range of ["127.0.0.0/8", "::1"]) draft.add(["peers", "allow"], range, entry.line);
  draft.warn(entry.line, "allow-loopback-peers: clients can reach every service of this machine through the relay");
}

function addressFamily({ key, value, line }: CoturnEntry, draft: Draft): void {
  if (!isOn(value) || value === "ipv4") return;
  draft.note(line, `${key}: not imported: a client gets IPv4 unless it asks for IPv6, or for both (RFC 8656 §7.2)`);
}
