/** What the portal is told of a relay when it connects. All that its URL needs, by type. */
export interface LinkParameters {
  /** What operators call the relay. Default: the portal knows it by its token alone. */
  readonly name?: string;
  /** Public IPv4 address, as text. At least one of both families is needed. */
  readonly ipv4?: string;
  /** Public IPv6 address, as text. */
  readonly ipv6?: string;
  /** UDP port that clients reach it on. */
  readonly port: number;
}

/** Where the token goes: a header, or the query, as portals of 2024 want it. Query strings end up in logs. */
export type TokenPlacement = "header" | "query";

/** Where a portal is. */
export interface PortalAddress {
  /** `https://portal.example`, `wss:` means the same; with or without a path. */
  readonly url: string;
  /**
   * Whether the token may travel in clear to a host other than this one. Default false: `http:` and `ws:` are refused
   * but for loopback and onion services, which Tor encrypts to.
   */
  readonly allowCleartext?: boolean;
}

/** What is asked of a connector. */
export interface LinkRequest {
  /** Holds the token if its placement is `query`: never log it. */
  readonly url: string;
  /** Hold the token: never log them. */
  readonly headers: Readonly<Record<string, string>>;
}

const SCHEMES: Readonly<Record<string, string>> = { "http:": "ws:", "https:": "wss:", "ws:": "ws:", "wss:": "wss:" };

/**
 * Reads where the portal is.
 *
 * @throws TypeError if it is no URL of http, https, ws or wss, if it has a user, a query or a fragment, or if the token
 *   would travel in clear.
 */
export function parsePortalUrl({ url, allowCleartext = false }: PortalAddress): URL {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  const scheme = parsed && SCHEMES[parsed.protocol];
  if (parsed === undefined || scheme === undefined) {
    throw new TypeError("Cannot use this portal URL: it must begin with https:// (or wss://) and name a host");
  }
  if (parsed.username !== "" || parsed.password !== "" || parsed.search !== "" || parsed.hash !== "") {
    throw new TypeError("Cannot use this portal URL: it must have no user, query or fragment; the token is set apart");
  }
  if (scheme === "ws:" && !allowCleartext && !isLoopback(parsed.hostname) && !parsed.hostname.endsWith(".onion")) {
    throw new TypeError(`Cannot use the portal at ${parsed.host}: its URL would send the token in clear. Use https://`);
  }
  const path = parsed.pathname.replace(/\/+$/, "");
  return new URL(`${scheme}//${parsed.host}${path}/relay/websocket`);
}

/** The request that connects a relay. */
export function linkRequest(options: {
  readonly portal: URL;
  readonly parameters: LinkParameters;
  readonly token: string;
  readonly placement: TokenPlacement;
  /** Serializer, if it is to be named: without it portals speak 1.0.0. */
  readonly vsn?: string;
}): LinkRequest {
  const { parameters, token, placement, vsn } = options;
  const url = new URL(options.portal);
  for (const name of ["name", "ipv4", "ipv6", "port"] as const) {
    const value = parameters[name];
    if (value !== undefined) url.searchParams.set(name, String(value));
  }
  if (vsn !== undefined) url.searchParams.set("vsn", vsn);
  if (placement === "query") url.searchParams.set("token", token);
  return {
    url: url.href,
    headers: placement === "header" ? { "x-authorization": `Bearer ${token}` } : {},
  };
}

function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" || /^127(?:\.\d{1,3}){3}$/.test(hostname);
}
