/** One row of the attribute table. */
export interface AttributeEntry {
  /** The 16-bit attribute type. Below 0x8000 it is comprehension-required (RFC 8489 §14). */
  readonly number: number;
  /** The name on the wire: the name in IANA's registry "STUN Attributes". */
  readonly name: string;
  /** Where it is defined. */
  readonly reference: string;
}

/** Every STUN attribute that this room knows. */
export const attributes = {
  mappedAddress: { number: 0x0001, name: "MAPPED-ADDRESS", reference: "RFC 8489 §14.1" },
  changeRequest: { number: 0x0003, name: "CHANGE-REQUEST", reference: "RFC 5780 §7.2" },
  username: { number: 0x0006, name: "USERNAME", reference: "RFC 8489 §14.3" },
  messageIntegrity: { number: 0x0008, name: "MESSAGE-INTEGRITY", reference: "RFC 8489 §14.5" },
  errorCode: { number: 0x0009, name: "ERROR-CODE", reference: "RFC 8489 §14.8" },
  unknownAttributes: { number: 0x000a, name: "UNKNOWN-ATTRIBUTES", reference: "RFC 8489 §14.13" },
  channelNumber: { number: 0x000c, name: "CHANNEL-NUMBER", reference: "RFC 8656 §18.1" },
  lifetime: { number: 0x000d, name: "LIFETIME", reference: "RFC 8656 §18.2" },
  xorPeerAddress: { number: 0x0012, name: "XOR-PEER-ADDRESS", reference: "RFC 8656 §18.3" },
  data: { number: 0x0013, name: "DATA", reference: "RFC 8656 §18.4" },
  realm: { number: 0x0014, name: "REALM", reference: "RFC 8489 §14.9" },
  nonce: { number: 0x0015, name: "NONCE", reference: "RFC 8489 §14.10" },
  xorRelayedAddress: { number: 0x0016, name: "XOR-RELAYED-ADDRESS", reference: "RFC 8656 §18.5" },
  requestedAddressFamily: { number: 0x0017, name: "REQUESTED-ADDRESS-FAMILY", reference: "RFC 8656 §18.6" },
  evenPort: { number: 0x0018, name: "EVEN-PORT", reference: "RFC 8656 §18.7" },
  requestedTransport: { number: 0x0019, name: "REQUESTED-TRANSPORT", reference: "RFC 8656 §18.8" },
  dontFragment: { number: 0x001a, name: "DONT-FRAGMENT", reference: "RFC 8656 §18.9" },
  accessToken: { number: 0x001b, name: "ACCESS-TOKEN", reference: "RFC 7635 §6.2" },
  messageIntegritySha256: { number: 0x001c, name: "MESSAGE-INTEGRITY-SHA256", reference: "RFC 8489 §14.6" },
  passwordAlgorithm: { number: 0x001d, name: "PASSWORD-ALGORITHM", reference: "RFC 8489 §14.12" },
  userhash: { number: 0x001e, name: "USERHASH", reference: "RFC 8489 §14.4" },
  xorMappedAddress: { number: 0x0020, name: "XOR-MAPPED-ADDRESS", reference: "RFC 8489 §14.2" },
  reservationToken: { number: 0x0022, name: "RESERVATION-TOKEN", reference: "RFC 8656 §18.10" },
  priority: { number: 0x0024, name: "PRIORITY", reference: "RFC 8445 §16.1" },
  useCandidate: { number: 0x0025, name: "USE-CANDIDATE", reference: "RFC 8445 §16.1" },
  padding: { number: 0x0026, name: "PADDING", reference: "RFC 5780 §7.6" },
  responsePort: { number: 0x0027, name: "RESPONSE-PORT", reference: "RFC 5780 §7.5" },
  connectionId: { number: 0x002a, name: "CONNECTION-ID", reference: "RFC 6062 §6.2.1" },
  additionalAddressFamily: { number: 0x8000, name: "ADDITIONAL-ADDRESS-FAMILY", reference: "RFC 8656 §18.11" },
  addressErrorCode: { number: 0x8001, name: "ADDRESS-ERROR-CODE", reference: "RFC 8656 §18.12" },
  passwordAlgorithms: { number: 0x8002, name: "PASSWORD-ALGORITHMS", reference: "RFC 8489 §14.11" },
  alternateDomain: { number: 0x8003, name: "ALTERNATE-DOMAIN", reference: "RFC 8489 §14.16" },
  icmp: { number: 0x8004, name: "ICMP", reference: "RFC 8656 §18.13" },
  software: { number: 0x8022, name: "SOFTWARE", reference: "RFC 8489 §14.14" },
  alternateServer: { number: 0x8023, name: "ALTERNATE-SERVER", reference: "RFC 8489 §14.15" },
  cacheTimeout: { number: 0x8027, name: "CACHE-TIMEOUT", reference: "RFC 5780 §9.1" },
  fingerprint: { number: 0x8028, name: "FINGERPRINT", reference: "RFC 8489 §14.7" },
  iceControlled: { number: 0x8029, name: "ICE-CONTROLLED", reference: "RFC 8445 §16.1" },
  iceControlling: { number: 0x802a, name: "ICE-CONTROLLING", reference: "RFC 8445 §16.1" },
  responseOrigin: { number: 0x802b, name: "RESPONSE-ORIGIN", reference: "RFC 5780 §7.3" },
  otherAddress: { number: 0x802c, name: "OTHER-ADDRESS", reference: "RFC 5780 §7.4" },
  thirdPartyAuthorization: { number: 0x802e, name: "THIRD-PARTY-AUTHORIZATION", reference: "RFC 7635 §6.1" },
  mobilityTicket: { number: 0x8030, name: "MOBILITY-TICKET", reference: "RFC 8016 §3.3" },
} as const;

/** A known attribute, by the name of its codec in this room: `"xorPeerAddress"` … */
export type AttributeName = keyof typeof attributes;

/** The name of an attribute type for people: `"LIFETIME"`, or `"0x4321"` for one that is not in the table. */
export function attributeWireName(type: number): string {
  return wireNames.get(type) ?? `0x${type.toString(16).padStart(4, "0")}`;
}

/** True for the types that a receiver must understand (RFC 8489 §14: 0x0000–0x7FFF). */
export function isComprehensionRequired(type: number): boolean {
  return type < 0x8000;
}

const table: Readonly<Record<AttributeName, AttributeEntry>> = attributes;
const wireNames: ReadonlyMap<number, string> = new Map(Object.values(table).map((entry) => [entry.number, entry.name]));
