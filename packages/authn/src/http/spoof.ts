import { BlockList, isIP } from "node:net";
import type { ExternalActor } from "../core/actor.ts";
import type { OperationContext } from "../core/operation-context.ts";
import type { SchemeResult } from "../core/scheme.ts";
import { type HttpScheme, type OpenApiSecurityScheme, quoted } from "./http-scheme.ts";
import { headerValue, type HttpRequest } from "./request.ts";

/** The field that is blindly trusted. */
export const SPOOF_HEADER = "x-turnpike-spoof";

/** Values of {@link SPOOF_HEADER} that stand for what can go wrong. */
export const SPOOF_RESERVED = {
  unknownActor: "unknown-actor",
  badCredentials: "bad-credentials",
  unavailable: "unavailable",
} as const;

/** Configuration of {@link SpoofScheme}. */
export interface SpoofOptions {
  /** The addresses of every listener of the program, whatever it serves. */
  readonly listeners: readonly { readonly address: string }[];
}

/**
 * Blindly trusts the client, for tests: `x-turnpike-spoof: user:alice`, with roles as `user:alice;admin,viewer`; also
 * `service:` and `relay:`. The values of {@link SPOOF_RESERVED} fail in their ways.
 */
export class SpoofScheme implements HttpScheme {
  readonly name = "spoof";
  readonly openApi: Readonly<Record<string, OpenApiSecurityScheme>> = {
    spoof: { type: "apiKey", in: "header", name: SPOOF_HEADER, description: "For tests: whoever the client says." },
  };

  /** @throws Error unless there is a listener and every listener is on a loopback address */
  constructor({ listeners }: SpoofOptions) {
    const outside = listeners.find((listener) => !isLoopback(listener.address));
    if (listeners.length === 0 || outside !== undefined) {
      const where = outside === undefined ? "no listener is named" : `a listener is on ${outside.address}`;
      throw new Error(
        `Cannot configure the scheme "spoof": it trusts every client, so every listener must be on loopback, but ${where}. ` +
          `Remove "spoof" from schemes_external, or listen on 127.0.0.1 or ::1 only`,
      );
    }
  }

  authenticate(_ctx: OperationContext, request: HttpRequest): SchemeResult {
    const value = headerValue(request, SPOOF_HEADER);
    if (value === undefined) return { kind: "notRequested" };
    if (!isLoopback(request.remoteAddress)) {
      return { kind: "failed", reason: { kind: "badCredentials", attemptedActor: value, note: "not from loopback" } };
    }
    switch (value) {
      case SPOOF_RESERVED.unknownActor:
        return { kind: "failed", reason: { kind: "unknownActor", attemptedActor: value } };
      case SPOOF_RESERVED.badCredentials:
        return { kind: "failed", reason: { kind: "badCredentials", attemptedActor: value } };
      case SPOOF_RESERVED.unavailable:
        return { kind: "unavailable", cause: new Error("spoofed"), attemptedActor: value };
      default: {
        const actor = parseActor(value);
        if (actor === undefined) {
          const detail = `the header ${SPOOF_HEADER} is not of the form "user:alice;admin,viewer"`;
          return { kind: "failed", reason: { kind: "badFormat", detail } };
        }
        return { kind: "authenticated", actor, details: {} };
      }
    }
  }

  challenges(realm: string): readonly string[] {
    return [`Spoof realm=${quoted(realm)}`];
  }
}

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");

/** Names aren't resolved: what `localhost` means is for somebody else to say. IPv4-mapped addresses count as IPv4. */
function isLoopback(address: string): boolean {
  const family = isIP(address);
  return family !== 0 && loopback.check(address, family === 4 ? "ipv4" : "ipv6");
}

function parseActor(value: string): ExternalActor | undefined {
  const match = /^(user|service|relay):([\w.@-]{1,64})(?:;([\w-]{1,32}(?:,[\w-]{1,32}){0,15}))?$/.exec(value);
  const [, kind, id, list] = match ?? [];
  if (id === undefined) return undefined;
  const roles = list?.split(",") ?? [];
  if (kind === "user" || kind === "service") return { kind, id, roles };
  return kind === "relay" && list === undefined ? { kind, id } : undefined;
}
