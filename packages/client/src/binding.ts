import type { TransportAddress } from "@turnpike/stun";
import type { Abortable } from "./allocation.ts";
import { openingOptions } from "./allocate.ts";
import { ClientDriver } from "./driver.ts";
import { resolveUri, type ResolveOptions } from "./resolve.ts";
import { openTransport } from "./transports/open.ts";
import { NAT_DISCOVERY_PROTOCOLS, type OpenTransportOptions } from "./transports/transport.ts";
import { parseUri, type TurnUri } from "./uri.ts";

/** What {@link binding} takes beside the URI. */
export type BindingOptions = Abortable & Omit<OpenTransportOptions, "signal"> & ResolveOptions;

/**
 * Asks a STUN server for one's own address as it sees it: `await binding("stun:stun.example")`. The first server that
 * the URI leads to is asked.
 *
 * @throws UriError; TurnClientError; the signal's reason.
 */
export async function binding(uri: string | TurnUri, options: BindingOptions = {}): Promise<TransportAddress> {
  const parsed = typeof uri === "string" ? parseUri(uri) : uri;
  const { signal } = options;
  const [candidate] = await resolveUri(parsed, options);
  const { tls } = options;
  const transport = await openTransport(candidate!, {
    ...openingOptions(options),
    ...(parsed.scheme === "stuns" ? { tls: { applicationProtocols: NAT_DISCOVERY_PROTOCOLS, ...tls } } : {}),
    ...(signal === undefined ? {} : { signal }),
  });
  const driver = new ClientDriver({ transport });
  try {
    const completion = await driver.perform("ask for the address", (engine, now) => engine.binding(now), signal);
    if (completion.method !== "binding") throw new TypeError("A Binding completes as one");
    return completion.mapped;
  } finally {
    driver.destroy();
  }
}
