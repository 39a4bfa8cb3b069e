import { isIP } from "node:net";
import { classifyAddress } from "./address-policy.ts";
import { describeTarget, isLocalhost, isOnion } from "./gate.ts";
import { InvalidHintError } from "./hint-error.ts";
import { parseHint } from "./hint.ts";
import { parseHostPort, parseHostPortPath } from "./host-port.ts";
import { chooseRoute, type RouteOverride, type TcpRoute } from "./routes.ts";
import { parseTarget } from "./target.ts";

/**
 * Everything of a configuration that could reveal this machine's address. A program fills in all that it has, so that one
 * look finds all; what is left out counts as not there.
 */
export interface RevealConfiguration {
  readonly revealIpAddress: boolean;
  readonly hints?: {
    readonly tcp?: TcpRoute;
    readonly overrides?: readonly RouteOverride[];
    /** True if a SOCKS proxy other than Tor is configured. */
    readonly socksProxy?: boolean;
    /** Listener specs, such as `tcp:0.0.0.0:4000`. */
    readonly listen?: readonly string[];
    readonly advertise?: "AUTO" | readonly string[];
  };
  /** Tor's own ports (`host:port` or `unix:/path`), with the key of each, such as `hints.tor.socks`. */
  readonly torTargets?: readonly { readonly key: string; readonly value: string }[];
  /** Hints that will be connected to (those of references too), with the key that each comes from. */
  readonly connectTo?: readonly { readonly key: string; readonly value: string }[];
  /** URLs that are contacted without hints (telemetry, webhooks, a portal by https, databases), with their keys. */
  readonly urls?: readonly { readonly key: string; readonly value: string }[];
  /** Addresses that something binds to (`host:port`), with their keys: relay listeners, metrics, health. */
  readonly binds?: readonly { readonly key: string; readonly value: string }[];
  /** Addresses that are published, with their keys: relay and external addresses, public URLs. */
  readonly published?: readonly { readonly key: string; readonly value: string }[];
}

/** One thing that would reveal the address. */
export interface RevealFinding {
  /** The configuration key. */
  readonly key: string;
  /** Its value. */
  readonly value: string;
  /** How it reveals the address, and what to do instead. */
  readonly problem: string;
}

/** The configuration asks for a hidden address and reveals it elsewhere. */
export class RevealError extends Error {
  override readonly name = "RevealError";
  readonly findings: readonly RevealFinding[];

  constructor(findings: readonly RevealFinding[]) {
    const lines = findings.map(({ key, value, problem }) => `\n  ${key} = ${value}: ${problem}`);
    super(`reveal_ip_address is false, but the configuration would reveal it:${lines.join("")}`);
    this.findings = findings;
  }
}

/** Lists everything in a configuration that would reveal the address; nothing if it may be revealed. Pure. */
export function checkReveal(configuration: RevealConfiguration): readonly RevealFinding[] {
  if (configuration.revealIpAddress) return [];
  return [
    ...checkHints(configuration.hints ?? {}),
    ...(configuration.torTargets ?? []).flatMap((item) => checkTorTarget(item)),
    ...(configuration.connectTo ?? []).flatMap((item) => checkHint(item, configuration.hints ?? {})),
    ...(configuration.urls ?? []).flatMap((item) => checkUrl(item)),
    ...(configuration.binds ?? []).flatMap((item) => checkBind(item)),
    ...(configuration.published ?? []).flatMap((item) => checkPublished(item)),
  ];
}

type HintKeys = NonNullable<RevealConfiguration["hints"]>;
type Item = { readonly key: string; readonly value: string };

function checkHints(hints: HintKeys): readonly RevealFinding[] {
  const findings: RevealFinding[] = [];
  if ((hints.tcp ?? "tcp") === "tcp") {
    findings.push({ key: "hints.tcp", value: "tcp", problem: 'TCP leaves directly; set "tor" or "disabled"' });
  }
  for (const { target, route } of hints.overrides ?? []) {
    if (route !== "tcp") continue;
    findings.push({ key: "hints.overrides", value: target, problem: "TCP to it leaves directly; remove the override" });
  }
  if (hints.socksProxy === true) {
    findings.push({ key: "hints.socks", value: "set", problem: "the proxy learns the address; use Tor" });
  }
  for (const spec of hints.listen ?? []) {
    if (spec.startsWith("onion:") || spec.startsWith("unix:")) continue;
    const bind = spec.slice(spec.indexOf(":") + 1);
    if (isLoopbackHost(bind)) continue;
    findings.push({
      key: "hints.listen",
      value: spec,
      problem: "listens on the network; use onion:PORT, or bind to 127.0.0.1",
    });
  }
  if (hints.advertise === "AUTO") {
    const detects = (hints.listen ?? []).some((spec) => !spec.startsWith("onion:") && !spec.startsWith("unix:"));
    if (detects) {
      findings.push({
        key: "hints.advertise",
        value: "AUTO",
        problem: "advertises this machine's addresses; list tor: hints",
      });
    }
  } else {
    for (const value of hints.advertise ?? []) {
      const finding = checkPublishedHint({ key: "hints.advertise", value });
      if (finding !== undefined) findings.push(finding);
    }
  }
  return findings;
}

function checkPublishedHint({ key, value }: Item): RevealFinding | undefined {
  const onion = /^tor:([^:]+):/u.exec(value)?.[1];
  if (value.startsWith("unix:") || (onion !== undefined && isOnion(onion))) return undefined;
  return { key, value, problem: "tells others where this machine is; advertise its onion service only" };
}

function checkHint({ key, value }: Item, hints: HintKeys): readonly RevealFinding[] {
  const overTcp = ["tcp", "tls", "ws", "wss"];
  try {
    const hint = parseHint(value, {
      hasHandler: (type) => [...overTcp, "tor", "unix", "socks", "turn"].includes(type),
    });
    if (hint.type === "tor" || hint.type === "unix") return [];
    if (overTcp.includes(hint.type)) {
      const place = { hint: value, start: 0 };
      const read = hint.type.startsWith("ws") ? parseHostPortPath : parseHostPort;
      const target = read(hint.rest, place);
      if (routeOf(target, hints) !== "tcp") return [];
    }
    const legacy = hint.legacy ? ` (it means ${hint.text})` : "";
    return [{ key, value, problem: `leaves directly${legacy}; write tor:, or set hints.tcp = "tor"` }];
  } catch (error) {
    if (!(error instanceof InvalidHintError)) throw error;
    return [{ key, value, problem: `cannot be judged: ${error.message}` }];
  }
}

function routeOf(target: { readonly host: string; readonly port: number }, hints: HintKeys): TcpRoute {
  return chooseRoute(target, { tcp: hints.tcp ?? "tcp", overrides: hints.overrides ?? [] });
}

function checkTorTarget({ key, value }: Item): readonly RevealFinding[] {
  const target = parseTarget(value);
  if (target === undefined) {
    return [{ key, value, problem: "is a name, and asking for it would reveal the address; write a literal address" }];
  }
  if (target.kind === "unix" || classifyAddress(target.address) !== "global") return [];
  return [
    {
      key,
      value: describeTarget(target),
      problem: "is Tor on another machine, which learns the address; use a local one",
    },
  ];
}

function checkUrl({ key, value }: Item): readonly RevealFinding[] {
  let url: URL;
  try {
    url = new URL(value);
  } catch {
    return [{ key, value, problem: "cannot be judged: it is not a URL" }];
  }
  const host = url.hostname.replace(/^\[(.*)\]$/u, "$1");
  if (url.protocol === "file:" || url.protocol === "unix:" || isLocalhost(host) || isLoopbackAddress(host)) return [];
  // The value may hold a password: only its origin is repeated.
  return [
    { key, value: `${url.protocol}//${url.host}`, problem: "is contacted directly; remove it, or use hints over Tor" },
  ];
}

function checkBind({ key, value }: Item): readonly RevealFinding[] {
  if (value.startsWith("unix:") || isLoopbackHost(value)) return [];
  return [{ key, value, problem: "listens on the network; bind to 127.0.0.1 or [::1]" }];
}

function checkPublished({ key, value }: Item): readonly RevealFinding[] {
  const host = URL.canParse(value) ? new URL(value).hostname : value;
  if (isOnion(host) || isLocalhost(host) || isLoopbackAddress(host)) return [];
  return [{ key, value, problem: "tells others where this machine is; remove it" }];
}

/** True if `host:port` (or `host:port/path`) names loopback; a bare port means every address. */
function isLoopbackHost(text: string): boolean {
  const slash = text.indexOf("/");
  const authority = slash < 0 ? text : text.slice(0, slash);
  const host = authority.slice(0, Math.max(0, authority.lastIndexOf(":"))).replace(/^\[(.*)\]$/u, "$1");
  return isLocalhost(host) || isLoopbackAddress(host);
}

function isLoopbackAddress(host: string): boolean {
  return isIP(host) !== 0 && classifyAddress(host) === "loopback";
}
