import { isPrintable } from "./time-limited-name.ts";

/** One entry of `RTCConfiguration.iceServers`, as JSON has it. */
export interface IceServer {
  readonly urls: string | readonly string[];
  readonly username?: string;
  readonly credential?: string;
}

/** A user name and its password, ready to be used until it ends. */
export interface TimeLimitedCredential {
  readonly username: string;
  /** The password: `credential` of an ICE server. A secret. */
  readonly credential: string;
  /** Seconds since 1970. */
  readonly expiresAtUnixSeconds: number;
  /** How long that was when it was minted, after the clamp. */
  readonly ttlSeconds: number;
}

/**
 * The `iceServers` of an `RTCPeerConnection`: the `stun:` and `stuns:` URLs in an entry without a credential (WebRTC
 * refuses none, but sends it nowhere either), the `turn:` and `turns:` URLs with it. An entry without URLs is left out.
 *
 * @throws TypeError if a URL is of another scheme, or has a space or a control character in it.
 */
export function toIceServers(options: {
  readonly urls: readonly string[];
  readonly credential: Pick<TimeLimitedCredential, "username" | "credential">;
}): IceServer[] {
  const { username, credential } = options.credential;
  for (const url of options.urls) checkIceUrl(url);
  const stun = options.urls.filter((url) => schemeOf(url).startsWith("stun"));
  const turn = options.urls.filter((url) => schemeOf(url).startsWith("turn"));
  const servers: IceServer[] = [];
  if (stun.length > 0) servers.push({ urls: stun });
  if (turn.length > 0) servers.push({ urls: turn, username, credential });
  return servers;
}

/** What the TURN REST draft (draft-uberti-behave-turn-rest-00 §2.2) answers. */
export interface TurnRestResponse {
  readonly username: string;
  readonly password: string;
  /** Seconds. */
  readonly ttl: number;
  readonly uris: readonly string[];
}

/**
 * The answer of the TURN REST draft's web service.
 *
 * @throws TypeError as {@link toIceServers}.
 */
export function toTurnRestResponse(options: {
  readonly urls: readonly string[];
  readonly credential: TimeLimitedCredential;
}): TurnRestResponse {
  for (const url of options.urls) checkIceUrl(url);
  const { username, credential, ttlSeconds } = options.credential;
  return { username, password: credential, ttl: ttlSeconds, uris: options.urls };
}

/** What clients of hosted services expect of `generate-ice-servers`. */
export interface GenerateIceServersResponse {
  readonly iceServers: readonly IceServer[];
}

/**
 * The answer of `generate-ice-servers`, for one credential that several relays accept (a fleet's secret) or for
 * one credential a relay (portal stamps).
 *
 * @throws TypeError as {@link toIceServers}.
 */
export function toGenerateIceServersResponse(
  relays: readonly { readonly urls: readonly string[]; readonly credential: TimeLimitedCredential }[],
): GenerateIceServersResponse {
  return { iceServers: relays.flatMap((relay) => toIceServers(relay)) };
}

/** What a credential service answered, understood. */
export interface ReceivedIceServers {
  readonly iceServers: readonly IceServer[];
  /** As the answer said it (`expiresAt`: RFC 3339 text or seconds since 1970). */
  readonly expiresAt?: string | number;
  /** As the answer said it: seconds. */
  readonly ttlSeconds?: number;
}

/** Answers longer than this are refused: browsers slow down with more than a handful of servers. */
const MAX_ICE_SERVERS = 64;

/**
 * Reads the answer of a credential service: `{iceServers}` (an array, or one entry as an object), `{ice_servers}`, a
 * bare array, or the TURN REST draft's `{username, password, ttl, uris}`.
 *
 * @throws TypeError if it is none of these, or if an entry is not as it must be. The message names the place, and
 *   repeats no credential.
 */
export function readIceServers(answer: unknown): ReceivedIceServers {
  if (Array.isArray(answer)) return { iceServers: readEntries(answer) };
  if (!isRecord(answer)) throw new TypeError("Cannot read ICE servers: the answer is neither an object nor an array");
  const { expiresAt, ttl } = answer;
  const times = {
    ...(typeof expiresAt === "string" || typeof expiresAt === "number" ? { expiresAt } : {}),
    ...(typeof ttl === "number" || (typeof ttl === "string" && ttl !== "") ? { ttlSeconds: Number(ttl) } : {}),
  };
  const { uris, username, password } = answer;
  if (Array.isArray(uris)) {
    const entry = readEntry({ urls: uris, username, credential: password }, "uris");
    const credential = { username: entry.username ?? "", credential: entry.credential ?? "" };
    return { iceServers: toIceServers({ urls: [entry.urls].flat(), credential }), ...times };
  }
  const servers = answer["iceServers"] ?? answer["ice_servers"];
  if (Array.isArray(servers)) return { iceServers: readEntries(servers), ...times };
  if (isRecord(servers)) return { iceServers: [readEntry(servers, "iceServers")], ...times };
  throw new TypeError('Cannot read ICE servers: the answer has neither "iceServers" nor "uris"');
}

function readEntries(entries: readonly unknown[]): IceServer[] {
  if (entries.length > MAX_ICE_SERVERS) {
    throw new TypeError(`Cannot read ICE servers: there are more than ${String(MAX_ICE_SERVERS)}`);
  }
  return entries.map((entry, index) => readEntry(entry, `iceServers[${String(index)}]`));
}

function readEntry(entry: unknown, place: string): IceServer {
  if (!isRecord(entry)) throw new TypeError(`Cannot read ICE servers: ${place} is not an object`);
  const { urls = entry["url"], username, credential } = entry;
  const list: readonly unknown[] = Array.isArray(urls) ? urls : [urls];
  if (list.length === 0 || list.length > MAX_ICE_SERVERS) {
    throw new TypeError(`Cannot read ICE servers: ${place} has no URL, or too many`);
  }
  const checked = list.map((url) => {
    if (typeof url !== "string") throw new TypeError(`Cannot read ICE servers: a URL of ${place} is not a string`);
    checkIceUrl(url);
    return url;
  });
  const needsCredential = checked.some((url) => schemeOf(url).startsWith("turn"));
  if (needsCredential && (typeof username !== "string" || typeof credential !== "string")) {
    throw new TypeError(`Cannot read ICE servers: ${place} has a turn: URL but no username and credential`);
  }
  return {
    urls: checked,
    ...(typeof username === "string" ? { username } : {}),
    ...(typeof credential === "string" ? { credential } : {}),
  };
}

const SCHEMES = ["stun", "stuns", "turn", "turns"];

function checkIceUrl(url: string): void {
  if (url.includes("@")) {
    throw new TypeError("Cannot use the URL of an ICE server: it has a user in it, which RFC 7065 §3 does not know");
  }
  if (!SCHEMES.includes(schemeOf(url))) {
    throw new TypeError(
      `Cannot use ${quote(url)} as the URL of an ICE server: it must begin with stun:, stuns:, turn: or turns:`,
    );
  }
  if (!isPrintable(url) || url.includes(" ") || url.length <= schemeOf(url).length + 1) {
    throw new TypeError(
      `Cannot use ${quote(url)} as the URL of an ICE server: it must be host, port and transport (RFC 7065 §3)`,
    );
  }
}

function schemeOf(url: string): string {
  return url.slice(0, Math.max(0, url.indexOf(":"))).toLowerCase();
}

/** JSON escapes what would move a terminal's cursor; C1 controls and the end of a long text are cut. */
function quote(text: string): string {
  return JSON.stringify(isPrintable(text) ? text.slice(0, 80) : "(control characters)");
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
