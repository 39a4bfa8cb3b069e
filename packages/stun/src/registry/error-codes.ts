/** One row of the error code table. */
export interface ErrorCodeEntry {
  /** The code: 300–699. */
  readonly number: number;
  /** The name in IANA's registry "STUN Error Codes", which is also the default reason phrase. */
  readonly name: string;
  /** Where it is defined. */
  readonly reference: string;
}

/** Every STUN error code that this room knows. */
export const errorCodes = {
  tryAlternate: { number: 300, name: "Try Alternate", reference: "RFC 8489 §14.8" },
  badRequest: { number: 400, name: "Bad Request", reference: "RFC 8489 §14.8" },
  unauthenticated: { number: 401, name: "Unauthenticated", reference: "RFC 8489 §14.8" },
  forbidden: { number: 403, name: "Forbidden", reference: "RFC 8656 §19" },
  mobilityForbidden: { number: 405, name: "Mobility Forbidden", reference: "RFC 8016 §3.4" },
  unknownAttribute: { number: 420, name: "Unknown Attribute", reference: "RFC 8489 §14.8" },
  allocationMismatch: { number: 437, name: "Allocation Mismatch", reference: "RFC 8656 §19" },
  staleNonce: { number: 438, name: "Stale Nonce", reference: "RFC 8489 §14.8" },
  addressFamilyNotSupported: { number: 440, name: "Address Family not Supported", reference: "RFC 8656 §19" },
  wrongCredentials: { number: 441, name: "Wrong Credentials", reference: "RFC 8656 §19" },
  unsupportedTransportProtocol: { number: 442, name: "Unsupported Transport Protocol", reference: "RFC 8656 §19" },
  peerAddressFamilyMismatch: { number: 443, name: "Peer Address Family Mismatch", reference: "RFC 8656 §19" },
  connectionAlreadyExists: { number: 446, name: "Connection Already Exists", reference: "RFC 6062 §6.3" },
  connectionTimeoutOrFailure: { number: 447, name: "Connection Timeout or Failure", reference: "RFC 6062 §6.3" },
  allocationQuotaReached: { number: 486, name: "Allocation Quota Reached", reference: "RFC 8656 §19" },
  roleConflict: { number: 487, name: "Role Conflict", reference: "RFC 8445 §16.2" },
  serverError: { number: 500, name: "Server Error", reference: "RFC 8489 §14.8" },
  insufficientCapacity: { number: 508, name: "Insufficient Capacity", reference: "RFC 8656 §19" },
} as const;

/** A known error code, by its name in this room: `"staleNonce"` … */
export type ErrorCodeName = keyof typeof errorCodes;

/** The number of a known error code: `300 | 400 | 401 …` */
export type ErrorCodeNumber = (typeof errorCodes)[ErrorCodeName]["number"];

/** The default reason phrase of a code; empty for one that is not in the table. */
export function reasonPhrase(code: number): string {
  return phrases.get(code) ?? "";
}

const table: Readonly<Record<ErrorCodeName, ErrorCodeEntry>> = errorCodes;
const phrases: ReadonlyMap<number, string> = new Map(Object.values(table).map((entry) => [entry.number, entry.name]));
