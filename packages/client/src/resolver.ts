import { lookup, Resolver as NodeResolver } from "node:dns/promises";

/** One SRV record (RFC 2782). */
export interface SrvRecord {
  readonly priority: number;
  readonly weight: number;
  readonly port: number;
  readonly name: string;
}

/** One NAPTR record (RFC 3403). */
export interface NaptrRecord {
  readonly order: number;
  readonly preference: number;
  readonly flags: string;
  readonly service: string;
  readonly regexp: string;
  readonly replacement: string;
}

/** DNS as resolution needs it. Nothing there is an empty list; what can't be told is an error. */
export interface Resolver {
  /** IPv4 and IPv6 addresses of a name, best first. */
  addresses(name: string, signal: AbortSignal): Promise<readonly string[]>;
  srv(name: string, signal: AbortSignal): Promise<readonly SrvRecord[]>;
  naptr(name: string, signal: AbortSignal): Promise<readonly NaptrRecord[]>;
}

/** The machine's own resolver: addresses as the system finds them (hosts file too), the rest by DNS. */
export const systemResolver: Resolver = {
  async addresses(name) {
    return orNothing(async () => (await lookup(name, { all: true })).map(({ address }) => address));
  },
  async srv(name, signal) {
    return orNothing(() => asking(signal, (resolver) => resolver.resolveSrv(name)));
  },
  async naptr(name, signal) {
    return orNothing(() => asking(signal, (resolver) => resolver.resolveNaptr(name)));
  },
};

async function asking<T>(signal: AbortSignal, ask: (resolver: NodeResolver) => Promise<T>): Promise<T> {
  const resolver = new NodeResolver({ timeout: 2000, tries: 2 });
  const cancel = (): void => resolver.cancel();
  signal.addEventListener("abort", cancel, { once: true });
  try {
    return await ask(resolver);
  } finally {
    signal.removeEventListener("abort", cancel);
  }
}

const NOTHING_THERE: readonly unknown[] = ["ENODATA", "ENOTFOUND", "ENONAME"];

async function orNothing<T>(ask: () => Promise<readonly T[]>): Promise<readonly T[]> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof Error && "code" in error && NOTHING_THERE.includes(error.code)) return [];
    throw error;
  }
}
