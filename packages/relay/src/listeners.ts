import {
  formatIpAddress,
  formatTransportAddress,
  type IpAddress,
  sameTransportAddress,
  type TransportAddress,
  withPort,
} from "@turnpike/stun";
import type { Listener } from "@turnpike/turn";
import { expandWildcard, formatListenSpec, isWildcard, type ListenSpec } from "./addresses/listen.ts";
import type { LocalAddress } from "./addresses/local-addresses.ts";
import type { RelayAddress } from "./addresses/relay-address.ts";
import type { Logger } from "./logger.ts";
import type { ForwardingPlane, Opened } from "./planes/plane.ts";

/** The relay could not be started as configured. `code` is the system's, e.g. `EADDRINUSE`. */
export class RelayStartError extends Error {
  override readonly name = "RelayStartError";
  readonly code: string;

  constructor(message: string, code: string) {
    super(message);
    this.code = code;
  }
}

/** What {@link openListeners} goes by. */
export interface OpenListenersOptions {
  readonly plane: Pick<ForwardingPlane, "openListener">;
  readonly specs: readonly ListenSpec[];
  /** The machine's addresses, which wildcards stand for. */
  readonly machine: readonly LocalAddress[];
  readonly logger: Logger;
}

/**
 * Opens every listening socket.
 *
 * @throws RelayStartError for the first that can't be opened, and if there is none. Those that are open stay open.
 */
export async function openListeners(options: OpenListenersOptions): Promise<readonly Listener[]> {
  const listeners: Listener[] = [];
  for (const spec of options.specs) {
    listeners.push(...(await openSpec(options, spec, listeners)));
  }
  if (listeners.length === 0) {
    throw new RelayStartError(
      "Cannot start the relay: none of its listening addresses exists on this machine",
      "EADDRNOTAVAIL",
    );
  }
  return listeners;
}

/**
 * Opens and closes a socket on each relay address, so that a wrong one is found at the start and not by a client.
 *
 * @throws RelayStartError for the first that can't be bound.
 */
export async function tryRelayAddresses(
  plane: Pick<ForwardingPlane, "openRelaySocket" | "closeRelaySocket">,
  addresses: readonly RelayAddress[],
): Promise<void> {
  for (const { local } of addresses) {
    const opened = await new Promise<Opened>((done) => plane.openRelaySocket(withPort(local, 0), done));
    if (opened.kind === "failed") {
      const hint =
        opened.failure === "addressUnavailable"
          ? "this machine doesn't have this address; behind a 1:1 NAT, name it as an external address"
          : HINTS[opened.failure];
      throw new RelayStartError(`Cannot relay from ${formatIpAddress(local)}: ${hint} (${opened.code})`, opened.code);
    }
    await new Promise<void>((done) => plane.closeRelaySocket(opened.socket, done));
  }
}

/** One socket for each address that a listening address stands for, all on one port. */
async function openSpec(
  options: OpenListenersOptions,
  spec: ListenSpec,
  others: readonly Listener[],
): Promise<readonly Listener[]> {
  const { plane, machine, logger } = options;
  const addresses: readonly IpAddress[] = expandWildcard(spec.local, machine);
  if (addresses.length === 0) {
    logger.info({ listen: formatListenSpec(spec) }, `This machine has no IPv${spec.local.family} address to listen on`);
  }
  const listeners: Listener[] = [];
  let { port } = spec.local;
  for (const address of addresses) {
    // A wildcard may name what another entry names already.
    if (others.some(({ local }) => sameTransportAddress(local, withPort(address, port)))) {
      continue;
    }
    const id = others.length + listeners.length;
    const opened = await open(plane, id, withPort(address, port));
    if (opened.kind === "opened") {
      listeners.push({ id, transport: spec.transport, local: opened.local });
      ({ port } = opened.local);
    } else if (isWildcard(spec.local) && opened.failure === "addressUnavailable") {
      logger.warn({ listen: formatListenSpec(spec), code: opened.code }, "An address of the wildcard is not available");
    } else {
      throw startError(spec, withPort(address, port), opened);
    }
  }
  return listeners;
}

function open(plane: OpenListenersOptions["plane"], id: number, local: TransportAddress): Promise<Opened> {
  return new Promise((done) => plane.openListener(id, local, done));
}

function startError(
  spec: ListenSpec,
  local: TransportAddress,
  failed: Extract<Opened, { kind: "failed" }>,
): RelayStartError {
  const where = `${spec.transport} ${formatTransportAddress(local)}`;
  return new RelayStartError(`Cannot listen on ${where}: ${HINTS[failed.failure]} (${failed.code})`, failed.code);
}

const HINTS: Readonly<Record<Extract<Opened, { kind: "failed" }>["failure"], string>> = {
  inUse: "another program has this port; stop it, or listen on another port",
  addressUnavailable: "this machine doesn't have this address",
  notPermitted: "this user may not; use a port above 1023, or grant the permission",
  noResources: "the system is out of descriptors or memory; raise the limit of open files (ulimit -n)",
  failed: "the system refused",
};
