import {
  InvalidHintError,
  InvalidReferenceError,
  isOnion,
  parseHint,
  parseHostPort,
  parseReference,
  type Reference,
} from "@turnpike/hints/text";
import { CommandError } from "../errors.ts";

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
