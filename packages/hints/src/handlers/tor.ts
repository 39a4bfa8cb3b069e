import { createHash } from "node:crypto";
import { decodeBase32 } from "../base32.ts";
import { isOnion, PolicyError } from "../gate.ts";
import type { Endpoint, HintContext, HintHandler } from "../handler.ts";
import { InvalidHintError } from "../hint-error.ts";
import { type HostPort, parseHostPort } from "../host-port.ts";
import type { Tor } from "../tor/tor.ts";

/** `tor:host:port`: an onion service, or any public host through an exit. Names are resolved inside Tor. */
export function createTorHandler(options: { readonly tor: Tor | undefined }): HintHandler {
  return {
    toEndpoint(context) {
      const target = parseHostPort(context.hint.rest, {
        hint: context.hint.text,
        start: context.hint.type.length + 1,
      });
      return torEndpoint(context, target, options);
    },
  };
}

/** An endpoint through Tor. Each destination has circuits of its own. */
export function torEndpoint(
  context: HintContext,
  target: HostPort,
  options: { readonly tor: Tor | undefined },
): Endpoint {
  const { tor } = options;
  if (tor === undefined) throw new PolicyError("route-disabled", "Tor is not configured (hints.tor)");
  if (isOnion(target.host) && !isOnionV3(target.host)) {
    throw new InvalidHintError({ code: "bad-onion", hint: context.hint.text, offset: context.hint.type.length + 1 });
  }
  tor.checkDestination(target.host);
  return {
    lane: "tor",
    host: target.host,
    halfClose: false,
    connect: ({ signal }) =>
      tor.connect({ host: target.host, port: target.port, signal, status: (detail) => context.status(detail) }),
  };
}

/** True for a version 3 onion name, subdomains allowed: base32 of key, checksum and version (rend-spec-v3 §6). */
export function isOnionV3(host: string): boolean {
  const label = host.split(".").at(-2) ?? "";
  if (label.length !== 56 || !host.endsWith(".onion")) return false;
  const bytes = decodeBase32(label, 35);
  if (bytes === undefined || bytes[34] !== 3) return false;
  const checksum = createHash("sha3-256")
    .update(".onion checksum")
    .update(bytes.subarray(0, 32))
    .update(bytes.subarray(34, 35))
    .digest();
  return checksum[0] === bytes[32] && checksum[1] === bytes[33];
}
