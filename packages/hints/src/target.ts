import { isIPv4, isIPv6 } from "node:net";
import { parsePort } from "./host-port.ts";
import type { DialTarget } from "./network.ts";

/**
 * Reads a place of local configuration: `127.0.0.1:9050`, `[::1]:9050`, `localhost:9050` or `unix:/path`. Names other than
 * `localhost` are not read: nothing is resolved for them.
 */
export function parseTarget(text: string): DialTarget | undefined {
  if (text.startsWith("unix:/")) return { kind: "unix", path: text.slice("unix:".length) };
  const colon = text.lastIndexOf(":");
  const port = colon < 0 ? undefined : parsePort(text.slice(colon + 1));
  if (port === undefined) return undefined;
  const host = text.slice(0, colon);
  if (host === "localhost") return { kind: "tcp", address: "127.0.0.1", port };
  if (isIPv4(host)) return { kind: "tcp", address: host, port };
  const inner = host.startsWith("[") && host.endsWith("]") ? host.slice(1, -1) : "";
  return isIPv6(inner) && !inner.includes("%") ? { kind: "tcp", address: inner, port } : undefined;
}
