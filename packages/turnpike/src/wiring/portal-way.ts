import {
  connectReference,
  InvalidHintError,
  InvalidReferenceError,
  isOnion,
  parseHint,
  parseHostPort,
  parseReference,
  type Reference,
  startTls,
} from "@turnpike/hints";
import { type LinkConnector, type LinkTimes, webSocketConnector } from "@turnpike/relay";
import type { LoadedConfiguration } from "../config/load.ts";
import { CommandError } from "../errors.ts";
import type { World } from "../world.ts";
import { hintCommandError } from "../hint-errors.ts";
import { createConnector, readAuthorities } from "./connector.ts";

/** How a relay reaches its portal. */
export interface PortalWay {
  /** What requests name: of the portal's URL, or made up of hints. */
  readonly url: string;
  /** The token travels safely, whatever the URL says: TLS or Tor is in the hints. */
  readonly allowCleartext: boolean;
  /** Best first. Empty for this very machine, which needs none. */
  readonly hints: readonly string[];
  /** Whose key the portal must show by TLS, whatever hint carries it. */
  readonly reference?: Reference;
  /** The host to prove by TLS over hints that don't do so themselves. */
  readonly tlsHost?: string;
}

/** Hints that may carry a link as they are, with what must be true of their host so that nobody reads the token. */
const CARRIERS: Readonly<Record<string, (host: string) => boolean>> = {
  tls: () => true,
  tor: isOnion,
  tcp: isThisMachine,
};
const CONNECT_MS = 120_000;

/**
 * Reads where the portal is: a URL, hints that commas part, or a reference.
 *
 * @throws CommandError if it is none of these, or if the token would travel in clear.
 */
export function portalWayOf(text: string): PortalWay {
  if (/^(?:https?|wss?):\/\//iu.test(text)) return wayOfUrl(text);
  try {
    return text.startsWith("turnpike://") ? wayOfReference(text) : wayOfHints(text.split(",").map((it) => it.trim()));
  } catch (error) {
    if (!(error instanceof InvalidHintError || error instanceof InvalidReferenceError)) throw error;
    const forms = "https://HOST, hints such as tor:NAME.onion:80 or tls:HOST:443, or a reference (turnpike://…)";
    throw new CommandError(`portal.url: ${error.message}; expected ${forms}`, { exitCode: 2, cause: error });
  }
}

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

function wayOfUrl(text: string): PortalWay {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const host = url?.hostname.replace(/^\[(.*)\]$/u, "$1") ?? "";
  // What is no URL after all is told by the link.
  if (url === undefined || isThisMachine(host)) return { url: text, allowCleartext: false, hints: [] };
  const secure = url.protocol === "https:" || url.protocol === "wss:";
  const authority = `${url.hostname}:${url.port === "" ? (secure ? 443 : 80) : url.port}`;
  if (isOnion(host)) {
    return { url: text, allowCleartext: false, hints: [`tor:${authority}`], ...(secure ? { tlsHost: host } : {}) };
  }
  return { url: text, allowCleartext: false, hints: [`${secure ? "tls" : "tcp"}:${authority}`] };
}

function wayOfReference(text: string): PortalWay {
  const reference = parseReference(text);
  return { url: "http://portal.invalid", allowCleartext: true, hints: reference.hints, reference };
}

function wayOfHints(texts: readonly string[]): PortalWay {
  let authority = "localhost";
  for (const text of texts.toReversed()) {
    const hint = parseHint(text, { hasHandler: (type) => type in CARRIERS || type === "unix" });
    if (hint.type === "unix") continue;
    const { host } = parseHostPort(hint.rest, { hint: hint.text, start: hint.type.length + 1 });
    if (CARRIERS[hint.type]?.(host) !== true) {
      const way = "use tls:, or tor: with an onion name";
      throw new CommandError(`portal.url: ${hint.text} would send the token in clear: ${way}`, { exitCode: 2 });
    }
    authority = hint.rest;
  }
  return { url: `http://${authority}`, allowCleartext: true, hints: texts };
}

function isThisMachine(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(?:\.\d{1,3}){3}$/u.test(host);
}
