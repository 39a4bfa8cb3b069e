import { attribute, getAttribute, lifetime, requestedAddressFamily } from "@turnpike/stun";
import type { Allocation } from "./allocation.ts";
import type { Now } from "./contract.ts";
import type { Core, IncomingRequest } from "./core.ts";
import { failure, success, type Answering } from "./reply.ts";
import { removeRelays } from "./teardown.ts";

/** RFC 8656 §8.2: sets the time-to-expiry of an allocation, or ends it; of one family if the request names one. */
export function refreshAllocation(core: Core, allocation: Allocation, request: IncomingRequest, now: Now): Answering {
  const family = getAttribute(request.message, requestedAddressFamily);
  if (family !== undefined && (!family.ok || allocation.relayOf(family.value) === undefined)) {
    return failure(443, "Peer Address Family Mismatch");
  }
  const requested = getAttribute(request.message, lifetime);
  if (requested !== undefined && !requested.ok) return failure(400, "Bad Request: LIFETIME is malformed");
  const meant = allocation.relays.filter((relay) => !family?.ok || relay.local.family === family.value);
  if (requested?.value === 0) {
    removeRelays(core, allocation, meant, "refreshedToZero", now);
    return success(attribute(lifetime, 0));
  }
  const seconds = grantLifetime(core, allocation, requested?.value, now);
  if (seconds <= 0) return failure(401, "Unauthenticated: the credential has expired");
  for (const relay of meant) relay.expiresAtMs = now.monotonicMs + seconds * 1000;
  core.registry.timers.set(allocation, allocation.expiresAtMs);
  if (core.wants("allocationRefreshed")) {
    core.event({ type: "allocationRefreshed", context: core.context(allocation, now), lifetimeSeconds: seconds });
  }
  return success(attribute(lifetime, seconds));
}

/** The lifetime to grant; with `onCredentialExpiry: "end"` no longer than the credential lives. */
export function grantLifetime(
  core: Core,
  allocation: Pick<Allocation, "credential" | "maxLifetimeSeconds">,
  requested: number | undefined,
  now: Now,
): number {
  const seconds = core.lifetimeSeconds(requested, allocation.maxLifetimeSeconds);
  const expiresAtUnixMs = allocation.credential.expiresAtUnixMs;
  const bound = core.options.onCredentialExpiry === "end" || allocation.credential.boundsLifetime;
  if (!bound || expiresAtUnixMs === undefined) return seconds;
  return Math.min(seconds, Math.floor((expiresAtUnixMs - now.unixMs) / 1000));
}
