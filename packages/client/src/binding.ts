import type { TransportAddress } from "@turnpike/stun";
import type { Abortable } from "./allocation.ts";
import { openingOptions } from "./allocate.ts";
import { ClientDriver } from "./driver.ts";
import { TurnClientError } from "./errors.ts";
import { resolveUri, type ResolveOptions, type ServerCandidate } from "./resolve.ts";
import { openTransport } from "./transports/open.ts";
import { NAT_DISCOVERY_PROTOCOLS, type OpenTransportOptions } from "./transports/transport.ts";
import { ATTEMPT_TIMEOUT_MS, tryEach } from "./try-each.ts";
import { parseUri, type TurnUri } from "./uri.ts";

/** What {@link binding} takes beside the URI. */
export type BindingOptions = Abortable & Omit<OpenTransportOptions, "signal"> & ResolveOptions;

/**
 * Asks a STUN server for one's own address as it sees it: `await binding("stun:stun.example")`. Tries what the URI leads
 * to, one after the other.
 *
 * @throws UriError; TurnClientError; the signal's reason.
 */
export async function binding(uri: string | TurnUri, options: BindingOptions = {}): Promise<TransportAddress> {
  const parsed = typeof uri === "string" ? parseUri(uri) : uri;
  const { signal, tls } = options;
  const candidates = await resolveUri(parsed, options);
  const isDiscovery = parsed.scheme === "stuns";
  const opening = {
    ...openingOptions(options),
    ...(isDiscovery ? { tls: { applicationProtocols: NAT_DISCOVERY_PROTOCOLS, ...tls } } : {}),
  };
  return tryEach(candidates, { what: "ask for the address", signal }, async (candidate, isLast) => {
    const limit = isLast ? undefined : AbortSignal.timeout(ATTEMPT_TIMEOUT_MS);
    const signals = [signal, limit].filter((each) => each !== undefined);
    try {
      return await bindingAt(candidate, opening, signals.length === 0 ? undefined : AbortSignal.any(signals));
    } catch (error) {
      if (limit?.aborted !== true || signal?.aborted === true) throw error;
      throw new TurnClientError("timeout", "Cannot ask for the address: no answer in time", { cause: error });
    }
  });
}

async function bindingAt(
  candidate: ServerCandidate,
  opening: OpenTransportOptions,
  signal: AbortSignal | undefined,
): Promise<TransportAddress> {
  const transport = await openTransport(candidate, signal === undefined ? opening : { ...opening, signal });
  const driver = new ClientDriver({ transport });
  try {
    const completion = await driver.perform("ask for the address", (engine, now) => engine.binding(now), signal);
    if (completion.method !== "binding") throw new TypeError("A Binding completes as one");
    return completion.mapped;
  } finally {
    driver.destroy();
  }
}
