import type { AllocateDemands, ClientCredentials } from "@turnpike/turn";
import type { Abortable, Allocation, AllocationHandlers } from "./allocation.ts";
import { ClientDriver, type Notice } from "./driver.ts";
import { asError, TurnClientError } from "./errors.ts";
import { resolveUri, type ResolveOptions, type ServerCandidate } from "./resolve.ts";
import { openTransport } from "./transports/open.ts";
import type { OpenTransportOptions } from "./transports/transport.ts";
import { ATTEMPT_TIMEOUT_MS, tryEach } from "./try-each.ts";
import { TurnAllocation } from "./turn-allocation.ts";
import { parseUri, type TurnUri } from "./uri.ts";

/** Who asks: a user name with its credential, or an access token (RFC 7635). */
export type CredentialOptions =
  | { readonly username: string; readonly credential: string; readonly accessToken?: undefined }
  | {
      readonly accessToken: { readonly keyId: string; readonly macKey: Uint8Array; readonly token: Uint8Array };
      readonly username?: undefined;
      readonly credential?: undefined;
    }
  | { readonly username?: undefined; readonly credential?: undefined; readonly accessToken?: undefined };

/** What {@link allocate} takes beside the URI. */
export type AllocateOptions = CredentialOptions &
  AllocationHandlers &
  Abortable &
  Omit<OpenTransportOptions, "signal"> &
  Omit<ResolveOptions, "families" | "signal"> & {
    /** What is relayed: `tcp` for connections to peers (RFC 6062), over TCP or TLS. Default `udp`. */
    readonly relay?: "udp" | "tcp";
    /** Families of the relayed addresses. Default: the server's choice, IPv4. */
    readonly families?: readonly (4 | 6)[];
    /** Families by which to reach the server. Default: both. */
    readonly serverFamilies?: readonly (4 | 6)[];
    /** Seconds to ask for. Default: the server's choice. */
    readonly lifetimeSeconds?: number;
    /** See `AllocateDemands` of `@turnpike/turn`. */
    readonly port?: AllocateDemands["port"];
    readonly reservationToken?: Uint8Array;
    readonly dontFragment?: boolean;
    readonly mobility?: boolean;
    /** False: `send` drops what goes to addresses that `permit` wasn't called for. Default true. */
    readonly autoPermit?: boolean;
    /** Datagrams, and their bytes, that may wait for the iterator. Default 1,024 and 4 MiB. */
    readonly queueDatagrams?: number;
    readonly queueBytes?: number;
    /** How long one server may take while there is another to try. Default 10,000. The last one has the RFC's time. */
    readonly attemptTimeoutMs?: number;
    /** The SOFTWARE attribute. Default: none is sent. */
    readonly software?: string;
  };

/**
 * Allocates a relayed transport address: `await allocate("turn:relay.example", { username, credential })`. Resolves the
 * URI (RFC 5928) and tries what it leads to, one after the other.
 *
 * @throws UriError; TypeError or RangeError for options that can't be used; TurnClientError; the signal's reason.
 */
export async function allocate(uri: string | TurnUri, options: AllocateOptions = {}): Promise<Allocation> {
  const parsed = typeof uri === "string" ? parseUri(uri) : uri;
  if (!parsed.scheme.startsWith("turn")) {
    throw new TypeError(`Cannot allocate at a ${parsed.scheme}: URI: expected turn: or turns:`);
  }
  const { signal, serverFamilies } = options;
  const transports = options.transports ?? (options.relay === "tcp" ? ["tcp", "tls"] : undefined);
  const candidates = await resolveUri(parsed, {
    ...(options.resolver === undefined ? {} : { resolver: options.resolver }),
    ...(options.random === undefined ? {} : { random: options.random }),
    ...(transports === undefined ? {} : { transports }),
    ...(serverFamilies === undefined ? {} : { families: serverFamilies }),
    ...(options.connector === undefined ? {} : { connector: options.connector }),
    ...(signal === undefined ? {} : { signal }),
  });
  return tryEach(candidates, { what: "allocate", signal }, (candidate, isLast) =>
    allocateAt(candidate, options, isLast),
  );
}

/** RFC 8656 §7.4: after a 437 the client takes another port; three times is enough to say that it isn't the port. */
const MAXIMUM_MISMATCHES = 3;

/** As {@link allocate}, at one server. `isLast`: there is no other to try, so that it has the RFC's time. */
export async function allocateAt(
  candidate: ServerCandidate,
  options: AllocateOptions,
  isLast: boolean,
): Promise<TurnAllocation> {
  for (let attempt = 1; ; attempt++) {
    const limit = isLast ? undefined : AbortSignal.timeout(options.attemptTimeoutMs ?? ATTEMPT_TIMEOUT_MS);
    try {
      return await allocateOnce(candidate, options, limit);
    } catch (error) {
      if (limit?.aborted === true && options.signal?.aborted !== true) {
        throw new TurnClientError("timeout", "Cannot allocate: no answer in time", { cause: error });
      }
      const mismatch = error instanceof TurnClientError && error.serverCode === 437;
      if (!mismatch || attempt >= MAXIMUM_MISMATCHES) throw error;
    }
  }
}

async function allocateOnce(
  candidate: ServerCandidate,
  options: AllocateOptions,
  limit: AbortSignal | undefined,
): Promise<TurnAllocation> {
  const signals = [options.signal, limit].filter((each) => each !== undefined);
  const signal = signals.length === 0 ? undefined : AbortSignal.any(signals);
  const opening = openingOptions(options);
  const transport = await openTransport(candidate, signal === undefined ? opening : { ...opening, signal });
  let allocation: TurnAllocation | undefined;
  // What comes right behind the success, before there is an allocation to tell it to.
  const early: Notice[] = [];
  let reached = candidate;
  const driver = new ClientDriver({
    transport,
    credentials: credentialsOf(options),
    software: options.software,
    onDatagram: (peer, data, channel) => allocation?.receive(peer, data, channel),
    onNotice: (notice) => (allocation === undefined ? early.push(notice) : allocation.notice(notice)),
    openAlternate: (address, domain) => {
      reached = { ...candidate, address, serverName: domain ?? candidate.serverName };
      return openTransport(reached, signal === undefined ? opening : { ...opening, signal });
    },
  });
  try {
    const demands = demandsOf(options);
    const completion = await driver.perform("allocate", (engine, now) => engine.allocate(demands, now), signal);
    if (completion.method !== "allocate") throw new TypeError("An Allocate completes as one");
    allocation = new TurnAllocation({
      driver,
      granted: completion.allocated,
      candidate: reached,
      transport: opening,
      handlers: options,
      limits: { datagrams: options.queueDatagrams ?? 1024, bytes: options.queueBytes ?? 4_194_304 },
      autoPermit: options.autoPermit ?? true,
      isTcp: options.relay === "tcp",
    });
    for (const notice of early) allocation.notice(notice);
    return allocation;
  } catch (error) {
    driver.destroy();
    throw asError(error);
  }
}

/** Credentials as the engine takes them. @throws TypeError if only half of them is there. */
export function credentialsOf(options: CredentialOptions): ClientCredentials | undefined {
  const { username, credential, accessToken } = options;
  if (accessToken !== undefined) {
    const { keyId, macKey, token } = accessToken;
    return { kind: "accessToken", keyId, macKey, accessToken: token };
  }
  if (username === undefined && credential === undefined) return undefined;
  if (username === undefined || credential === undefined) {
    throw new TypeError("Cannot authenticate: username and credential go together");
  }
  return { kind: "password", username, password: credential };
}

/** The part of the options that says who asks. */
export function pickCredentials({ username, credential, accessToken }: CredentialOptions): CredentialOptions {
  if (accessToken !== undefined) return { accessToken };
  return username === undefined || credential === undefined ? {} : { username, credential };
}

/** The part of the options that opening a transport takes. */
export function openingOptions(options: Omit<OpenTransportOptions, "signal">): OpenTransportOptions {
  const { tls, sendQueueBytes, localAddress, connectTimeoutMs, connector } = options;
  return {
    ...(tls === undefined ? {} : { tls }),
    ...(sendQueueBytes === undefined ? {} : { sendQueueBytes }),
    ...(localAddress === undefined ? {} : { localAddress }),
    ...(connectTimeoutMs === undefined ? {} : { connectTimeoutMs }),
    ...(connector === undefined ? {} : { connector }),
  };
}

function demandsOf(options: AllocateOptions): AllocateDemands {
  const { relay, families, lifetimeSeconds, port, reservationToken, dontFragment, mobility } = options;
  return {
    ...(relay === undefined ? {} : { transport: relay }),
    ...(families === undefined ? {} : { families }),
    ...(lifetimeSeconds === undefined ? {} : { lifetimeSeconds }),
    ...(port === undefined ? {} : { port }),
    ...(reservationToken === undefined ? {} : { reservationToken }),
    ...(dontFragment === undefined ? {} : { dontFragment }),
    ...(mobility === undefined ? {} : { mobility }),
  };
}
