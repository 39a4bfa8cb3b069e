import type { Connector } from "@turnpike/hints";
import {
  formatIpAddress,
  formatTransportAddress,
  parseIpAddress,
  withPort,
  type IpAddress,
  type TransportAddress,
} from "@turnpike/stun";
import type { ClientTransport } from "@turnpike/turn";
import { reasonOf, TurnClientError, unlessAborted } from "./errors.ts";
import { systemResolver, type NaptrRecord, type Resolver, type SrvRecord } from "./resolver.ts";
import { defaultPort, formatUri, isSecure, type TurnUri } from "./uri.ts";

/** Where and how a server may be reached. */
export interface ServerCandidate {
  readonly transport: ClientTransport;
  /** The unspecified address (0.0.0.0) with the port where a connector resolves the name: see {@link hostOf}. */
  readonly address: TransportAddress;
  /** What its certificate must be for: the host of the URI (RFC 5928 §5). */
  readonly serverName: string;
}

/** How a URI is resolved. */
export interface ResolveOptions {
  /** Default: the machine's. */
  readonly resolver?: Resolver;
  /** 0 to 1, 1 excluded; decides among SRV records of one priority. Default `Math.random`. */
  readonly random?: () => number;
  /**
   * Transports to use where the URI names none, best first. Default UDP, TCP; for `turns:` and `stuns:` TLS (RFC 5928
   * §3), to which DTLS may be added (RFC 7350).
   */
  readonly transports?: readonly ("udp" | "tcp" | "tls" | "dtls")[];
  /** Default: both. */
  readonly families?: readonly (4 | 6)[];
  /** Resolves names itself: nobody is asked here, and a URI leads to TCP (`turns:` to TLS) at its own or the default port. */
  readonly connector?: Connector;
  readonly signal?: AbortSignal;
}

/** The most candidates that a URI leads to; what DNS says beyond that is left out. */
export const MAXIMUM_CANDIDATES = 16;
/** The most questions that are asked of DNS for one URI, so that records can't lead in circles. */
const MAXIMUM_QUESTIONS = 24;
const QUESTION_TIMEOUT_MS = 5000;

/**
 * The servers that a URI stands for, in the order in which to try them (RFC 5928 §3; the same with the `stun` service
 * names for RFC 7064 URIs, RFC 8489 §8.1).
 *
 * @throws TurnClientError with `notResolved`.
 */
export async function resolveUri(uri: TurnUri, options: ResolveOptions = {}): Promise<readonly ServerCandidate[]> {
  const resolution = new Resolution(uri, options);
  const candidates = await resolution.run();
  const seen = new Set<string>();
  const unique = candidates.filter(({ transport, address }) => {
    const name = `${transport} ${formatTransportAddress(address)}`;
    return seen.size < seen.add(name).size;
  });
  if (unique.length === 0) {
    throw new TurnClientError("notResolved", `Cannot resolve ${formatUri(uri)}: no address was found`);
  }
  return unique.slice(0, MAXIMUM_CANDIDATES);
}

/** The host to connect to: the address, or the name that a connector resolves. */
export function hostOf({ address, serverName }: ServerCandidate): string {
  return isUnresolved(address) ? serverName : formatIpAddress(address);
}

/** Host and port in words: `192.0.2.1:5349`, `[2001:db8::1]:5349`, `relay.example:5349`. */
export function placeOf(candidate: ServerCandidate): string {
  const { address, serverName } = candidate;
  return isUnresolved(address) ? `${serverName}:${address.port}` : formatTransportAddress(address);
}

/** True for the address of a name that was left to a connector. */
export function isUnresolved(address: IpAddress): boolean {
  return formatIpAddress(address) === formatIpAddress(UNRESOLVED);
}

const UNRESOLVED: IpAddress = parseIpAddress("0.0.0.0")!;

/** The transport that a URI names, as Table 1 of RFC 5928 has it; DTLS and WebSocket beside it. */
export function transportOf(uri: TurnUri): ClientTransport | undefined {
  if (uri.transport === undefined) return undefined;
  return isSecure(uri) ? SECURE[uri.transport] : uri.transport;
}

const SECURE = { udp: "dtls", tcp: "tls", ws: "wss" } as const;

class Resolution {
  readonly #uri: TurnUri;
  readonly #resolver: Resolver;
  readonly #random: () => number;
  readonly #families: readonly (4 | 6)[];
  readonly #transports: readonly ClientTransport[];
  readonly #isLeftToConnector: boolean;
  readonly #signal: AbortSignal | undefined;
  #questions = 0;

  constructor(uri: TurnUri, options: ResolveOptions) {
    this.#uri = uri;
    this.#resolver = options.resolver ?? systemResolver;
    this.#random = options.random ?? Math.random;
    this.#families = options.families ?? [4, 6];
    this.#signal = options.signal;
    const named = transportOf(uri);
    this.#isLeftToConnector = options.connector !== undefined;
    const plain = this.#isLeftToConnector ? (["tcp"] as const) : (["udp", "tcp"] as const);
    const preferred = options.transports ?? (isSecure(uri) ? ["tls"] : plain);
    const fitting = preferred.filter((transport) => !isSecure(uri) || transport === "tls" || transport === "dtls");
    this.#transports = named === undefined ? fitting : [named];
    if (this.#transports.length === 0) {
      const given = preferred.length === 0 ? "no transport" : preferred.join(" and ");
      throw new TurnClientError(
        "notResolved",
        `Cannot resolve ${formatUri(uri)}: it needs TLS or DTLS, and ${given} may be used`,
      );
    }
  }

  async run(): Promise<ServerCandidate[]> {
    const { host, ip, port, transport } = this.#uri;
    // Steps 1 and 2: an address, or a port that needs no records.
    if (ip !== undefined) return this.#eachTransport([ip], port);
    if (this.#isLeftToConnector) return this.#eachTransport([UNRESOLVED], port);
    if (port !== undefined || transport === "ws") return this.#eachTransport(await this.#addresses(host), port);
    // Step 3.
    if (transport !== undefined || !this.#isTurn) return this.#bySrv();
    // Step 4, and 5 if there is no NAPTR.
    const naptr = await this.#ask((signal) => this.#resolver.naptr(host, signal), []);
    const wanted = naptr.filter(({ service }) => relayProtocols(service).length > 0);
    if (wanted.length === 0) return this.#bySrv();
    return this.#byNaptr(wanted, 0);
  }

  get #isTurn(): boolean {
    return this.#uri.scheme.startsWith("turn");
  }

  #eachTransport(ips: readonly IpAddress[], port: number | undefined): ServerCandidate[] {
    return this.#transports.flatMap((transport) =>
      ips.map((ip) => this.#candidate(transport, withPort(ip, port ?? defaultPort(this.#uri)))),
    );
  }

  #candidate(transport: ClientTransport, address: TransportAddress): ServerCandidate {
    return { transport, address, serverName: this.#uri.host };
  }

  /** RFC 2782 for each transport; without records the default port of the host itself. */
  async #bySrv(): Promise<ServerCandidate[]> {
    const { host, scheme } = this.#uri;
    const found: ServerCandidate[] = [];
    for (const transport of this.#transports) {
      const protocol = transport === "udp" || transport === "dtls" ? "udp" : "tcp";
      found.push(...(await this.#srvTargets(`_${scheme}._${protocol}.${host}`, transport, host)));
    }
    return found;
  }

  async #srvTargets(
    name: string,
    transport: ClientTransport,
    fallback: string | undefined,
  ): Promise<ServerCandidate[]> {
    const records = await this.#ask((signal) => this.#resolver.srv(name, signal), []);
    // A single record with the target "." says that there is no such service (RFC 2782).
    if (records.length === 1 && (records[0]!.name === "." || records[0]!.name === "")) return [];
    if (records.length === 0) {
      if (fallback === undefined) return [];
      const ips = await this.#addresses(fallback);
      return ips.map((ip) => this.#candidate(transport, withPort(ip, defaultPort(this.#uri))));
    }
    const found: ServerCandidate[] = [];
    for (const { name: target, port } of inSrvOrder(records, this.#random)) {
      if (found.length >= MAXIMUM_CANDIDATES) break;
      if (!Number.isInteger(port) || port < 1 || port > 65_535) continue;
      for (const ip of await this.#addresses(target)) found.push(this.#candidate(transport, withPort(ip, port)));
    }
    return found;
  }

  /** S-NAPTR (RFC 3958) with the service tag RELAY. */
  async #byNaptr(records: readonly NaptrRecord[], depth: number): Promise<ServerCandidate[]> {
    const found: ServerCandidate[] = [];
    // One entry for each transport that a record names; of one ranking, the application's preference decides.
    const rank = ({ order, preference }: NaptrRecord): number => order * 0x1_0000 + preference;
    const usable = records.filter(({ regexp, replacement }) => regexp === "" && replacement !== "");
    const ordered = this.#transports
      .flatMap((transport) => {
        const naming = usable.filter(({ service }) => relayProtocols(service).includes(transport));
        return naming.map((record) => ({ record, transport }));
      })
      .toSorted((a, b) => rank(a.record) - rank(b.record));
    for (const { record, transport } of ordered) {
      if (found.length >= MAXIMUM_CANDIDATES) break;
      found.push(...(await this.#followNaptr(record.flags.toLowerCase(), record.replacement, transport, depth)));
    }
    return found;
  }

  async #followNaptr(flags: string, to: string, transport: ClientTransport, depth: number): Promise<ServerCandidate[]> {
    if (flags === "s") return this.#srvTargets(to, transport, undefined);
    if (flags === "a") {
      const ips = await this.#addresses(to);
      return ips.map((ip) =>
        this.#candidate(transport, withPort(ip, transport === "tls" || transport === "dtls" ? 5349 : 3478)),
      );
    }
    if (flags !== "" || depth >= MAXIMUM_NAPTR_DEPTH) return [];
    const next = await this.#ask((signal) => this.#resolver.naptr(to, signal), []);
    const fitting = next.filter(({ service }) => relayProtocols(service).includes(transport));
    const only = fitting.map((record) => ({ ...record, service: `RELAY:turn.${transport}` }));
    return this.#byNaptr(only, depth + 1);
  }

  async #addresses(name: string): Promise<IpAddress[]> {
    const texts = await this.#ask((signal) => this.#resolver.addresses(name, signal), []);
    const ips = texts.map((text) => parseIpAddress(text)).filter((ip) => ip !== undefined);
    return ips.filter(({ family }) => this.#families.includes(family)).slice(0, MAXIMUM_CANDIDATES);
  }

  /** One question, bounded in time; over the cap, and where DNS fails, there is nothing. */
  async #ask<T>(question: (signal: AbortSignal) => Promise<T>, nothing: T): Promise<T> {
    this.#throwIfAborted();
    if (++this.#questions > MAXIMUM_QUESTIONS) return nothing;
    const timeout = AbortSignal.timeout(QUESTION_TIMEOUT_MS);
    const signal = this.#signal === undefined ? timeout : AbortSignal.any([timeout, this.#signal]);
    try {
      return await unlessAborted(question(signal), signal);
    } catch {
      this.#throwIfAborted();
      return nothing;
    }
  }

  #throwIfAborted(): void {
    if (this.#signal?.aborted === true) throw reasonOf(this.#signal);
  }
}

const MAXIMUM_NAPTR_DEPTH = 4;

/** The transports that a service field such as `RELAY:turn.udp:turn.tls` names. */
function relayProtocols(service: string): readonly ClientTransport[] {
  const [tag, ...protocols] = service.toLowerCase().split(":");
  if (tag !== "relay") return [];
  const known: Readonly<Record<string, ClientTransport>> = {
    "turn.udp": "udp",
    "turn.tcp": "tcp",
    "turn.tls": "tls",
    // RFC 7350.
    "turn.dtls": "dtls",
  };
  return protocols.map((protocol) => known[protocol]).filter((transport) => transport !== undefined);
}

/** RFC 2782: by priority, within one at random by weight. */
function inSrvOrder(records: readonly SrvRecord[], random: () => number): SrvRecord[] {
  const ordered: SrvRecord[] = [];
  for (const priority of [...new Set(records.map((record) => record.priority))].toSorted((a, b) => a - b)) {
    // Those of weight 0 stand first, so that they have a chance at all.
    const left = records.filter((record) => record.priority === priority).toSorted((a, b) => a.weight - b.weight);
    while (left.length > 0) {
      const total = left.reduce((sum, { weight }) => sum + weight, 0);
      let mark = random() * (total + 1);
      const place = left.findIndex(({ weight }) => (mark -= weight) < 1);
      ordered.push(...left.splice(Math.max(0, place), 1));
    }
  }
  return ordered;
}
