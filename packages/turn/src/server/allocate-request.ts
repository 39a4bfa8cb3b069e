import {
  additionalAddressFamily,
  dontFragment,
  evenPort,
  getAttribute,
  lifetime,
  requestedAddressFamily,
  requestedTransport,
  reservationToken,
  transportProtocols,
  type StunMessage,
} from "@turnpike/stun";
import type { ReservationTokens } from "./reservation-tokens.ts";

/** The number that ADDITIONAL-ADDRESS-FAMILY had in drafts of RFC 8656: coturn 4.6 and its client still use it. */
const DRAFT_ADDITIONAL_FAMILY = { ...additionalAddressFamily, type: 0x8032 };

/** What an Allocate request asks for, once it has been found to be sound. */
export interface AllocateDemand {
  readonly transport: "udp" | "tcp";
  readonly families: readonly (4 | 6)[];
  readonly port: "any" | "even" | "evenPair" | "reserved";
  readonly reservation: number | undefined;
  readonly lifetimeSeconds: number | undefined;
}

/** Why an Allocate request can't be served. */
export interface AllocateRefusal {
  readonly refusal: { readonly code: number; readonly reason: string };
}

/** RFC 8656 §7.2, steps 3 to 9. */
export function readAllocateRequest(
  message: StunMessage,
  options: {
    readonly families: readonly (4 | 6)[];
    readonly tokens: ReservationTokens;
    readonly actor: string;
    /** Whether TCP relay sockets can be had. */
    readonly tcpRelay: boolean;
    /** Whether the client came by a stream transport. */
    readonly isStream: boolean;
  },
): AllocateDemand | AllocateRefusal {
  // Step 3.
  const transport = getAttribute(message, requestedTransport);
  if (!transport?.ok) return refuse(400, "Bad Request: REQUESTED-TRANSPORT is missing or malformed");
  const isTcp = transport.value === transportProtocols.tcp && options.tcpRelay;
  if (!isTcp && transport.value !== transportProtocols.udp) return refuse(442, "Unsupported Transport Protocol");
  // Step 4, DONT-FRAGMENT, is among the unknown attributes if it can't be honoured.

  const requestedLifetime = getAttribute(message, lifetime);
  if (requestedLifetime !== undefined && !requestedLifetime.ok) {
    return refuse(400, "Bad Request: LIFETIME is malformed");
  }
  const lifetimeSeconds = requestedLifetime?.value;

  // Step 5.
  const token = getAttribute(message, reservationToken);
  const even = getAttribute(message, evenPort);
  const requested = getAttribute(message, requestedAddressFamily);
  const additional = getAttribute(message, additionalAddressFamily) ?? getAttribute(message, DRAFT_ADDITIONAL_FAMILY);
  // RFC 6062 §5.1, steps 2 and 3.
  if (isTcp) {
    if (!options.isStream) return refuse(400, "Bad Request: a TCP allocation needs a TCP or TLS connection");
    if (token !== undefined || even !== undefined || getAttribute(message, dontFragment) !== undefined) {
      return refuse(400, "Bad Request: a TCP allocation has no DONT-FRAGMENT, EVEN-PORT or RESERVATION-TOKEN");
    }
  }
  if (token !== undefined) {
    if (even !== undefined || requested !== undefined || additional !== undefined) {
      return refuse(400, "Bad Request: RESERVATION-TOKEN goes with neither EVEN-PORT nor an address family");
    }
    const reservation = token.ok ? options.tokens.open(token.value, options.actor) : undefined;
    if (reservation === undefined) return refuse(508, "Insufficient Capacity: unknown reservation");
    return { transport: "udp", families: options.families, port: "reserved", reservation, lifetimeSeconds };
  }

  // Step 6.
  if (requested !== undefined && additional !== undefined) {
    return refuse(400, "Bad Request: only one of REQUESTED- and ADDITIONAL-ADDRESS-FAMILY may be given");
  }
  // Step 7.
  if (requested !== undefined && !requested.ok) return refuse(440, "Address Family not Supported");
  const family = requested?.ok ? requested.value : 4;
  // Steps 8 and 9.
  if (even !== undefined && !even.ok) return refuse(400, "Bad Request: EVEN-PORT is malformed");
  const port = even === undefined ? "any" : even.value ? "evenPair" : "even";
  if (additional !== undefined) {
    if (!additional.ok || additional.value !== 6) {
      return refuse(400, "Bad Request: ADDITIONAL-ADDRESS-FAMILY must be IPv6");
    }
    if (port === "evenPair") {
      return refuse(400, "Bad Request: no pair can be reserved for two address families");
    }
    return { transport: isTcp ? "tcp" : "udp", families: [4, 6], port, reservation: undefined, lifetimeSeconds };
  }
  if (!options.families.includes(family)) return refuse(440, "Address Family not Supported");
  return { transport: isTcp ? "tcp" : "udp", families: [family], port, reservation: undefined, lifetimeSeconds };
}

function refuse(code: number, reason: string): AllocateRefusal {
  return { refusal: { code, reason } };
}
