import { connectReference, startTls } from "@turnpike/hints";
import { type LinkConnector, type LinkTimes, webSocketConnector } from "@turnpike/relay/link";
import type { LoadedConfiguration } from "../config/load.ts";
import { CommandError } from "../errors.ts";
import { hintCommandError } from "../hint-errors.ts";
import type { World } from "../world.ts";
import { createConnector, readAuthorities } from "./connector.ts";
import type { PortalWay } from "./portal-way.ts";

const CONNECT_MS = 120_000;

/**
 * What opens links by the way, ruled by `[hints]`. Undefined for a portal on this machine.
 *
 * @throws CommandError
 */
export function createPortalConnector(options: {
  readonly way: PortalWay;
  readonly loaded: LoadedConfiguration;
  readonly world: World;
}): { readonly connector: LinkConnector; readonly times: LinkTimes; close(): Promise<void> } | undefined {
  const { way, loaded, world } = options;
  const { hints, reference, tlsHost: host } = way;
  if (hints.length === 0) return undefined;
  try {
    // The operator wrote where the portal is: a name may lead to a private address.
    const isPrivateAllowed = loaded.configuration.hints.private_addresses !== "refused";
    const connector = createConnector({
      loaded,
      world,
      unixSockets: reference === undefined,
      ...(isPrivateAllowed ? { privateAddresses: "allowed" } : {}),
    });
    const ca = readAuthorities(loaded, world);
    const prove =
      host === undefined
        ? {}
        : {
            prove: (stream: Parameters<typeof startTls>[0], { signal }: { readonly signal: AbortSignal }) =>
              startTls(stream, { host, ca, signal }),
          };
    return {
      connector: webSocketConnector({
        timeoutMs: CONNECT_MS,
        connect: async (_target, { signal }) => {
          const connecting =
            reference === undefined
              ? connector.connect({ hints, signal, ...prove })
              : connectReference(connector, reference, { signal });
          return (await connecting).stream;
        },
      }),
      times: { connectMs: CONNECT_MS },
      close: () => connector.close(),
    };
  } catch (error) {
    const told = hintCommandError(error);
    throw told instanceof Error ? told : new CommandError(String(told), { exitCode: 1 });
  }
}
