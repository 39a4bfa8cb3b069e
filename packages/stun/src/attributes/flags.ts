import type { AttributeName } from "../registry/attributes.ts";
import { type AttributeCodec, decoded, defineAttribute, requireUnsigned, undecodable } from "./codec.ts";

/** RFC 8656 §18.9. No value: its presence is the message. */
export const dontFragment: AttributeCodec<true> = presenceCodec("dontFragment");
/** RFC 8445 §7.1.2. No value: its presence is the message. */
export const useCandidate: AttributeCodec<true> = presenceCodec("useCandidate");

/** RFC 8656 §18.7. True: the R bit, also reserve the next higher port. */
export const evenPort: AttributeCodec<boolean> = defineAttribute(
  "evenPort",
  (reserveNext) => Uint8Array.of(reserveNext ? 0x80 : 0),
  (value) => (value.length === 1 ? decoded((value[0]! & 0x80) !== 0) : undecodable("wrongLength")),
);

/** The protocol numbers of REQUESTED-TRANSPORT (RFC 8656 §18.8, RFC 6062 §4.1). */
export const transportProtocols = { tcp: 6, udp: 17 } as const;

/** RFC 8656 §18.8: an IP protocol number (0–255), see {@link transportProtocols}. */
export const requestedTransport: AttributeCodec<number> = defineAttribute(
  "requestedTransport",
  (protocol) => {
    requireUnsigned("REQUESTED-TRANSPORT", protocol, 0xff);
    return Uint8Array.of(protocol, 0, 0, 0);
  },
  (value) => (value.length === 4 ? decoded(value[0]!) : undecodable("wrongLength")),
);

/** RFC 8656 §18.6. */
export const requestedAddressFamily: AttributeCodec<4 | 6> = familyCodec("requestedAddressFamily");
/** RFC 8656 §18.11. */
export const additionalAddressFamily: AttributeCodec<4 | 6> = familyCodec("additionalAddressFamily");

/** What CHANGE-REQUEST asks of the answer. */
export interface ChangeRequest {
  /** Send it from the other IP address. */
  readonly changeIp: boolean;
  /** Send it from the other port. */
  readonly changePort: boolean;
}

/** RFC 5780 §7.2. */
export const changeRequest: AttributeCodec<ChangeRequest> = defineAttribute(
  "changeRequest",
  ({ changeIp, changePort }) => Uint8Array.of(0, 0, 0, (changeIp ? 0x04 : 0) | (changePort ? 0x02 : 0)),
  (value) => {
    if (value.length !== 4) return undecodable("wrongLength");
    const flags = value[3]!;
    return decoded({ changeIp: (flags & 0x04) !== 0, changePort: (flags & 0x02) !== 0 });
  },
);

function presenceCodec(name: AttributeName): AttributeCodec<true> {
  return defineAttribute(
    name,
    () => new Uint8Array(0),
    (value) => (value.length === 0 ? decoded(true) : undecodable("wrongLength")),
  );
}

function familyCodec(name: AttributeName): AttributeCodec<4 | 6> {
  return defineAttribute(
    name,
    (family) => Uint8Array.of(family === 4 ? 1 : 2, 0, 0, 0),
    (value) => {
      if (value.length !== 4) return undecodable("wrongLength");
      if (value[0] === 1) return decoded(4);
      return value[0] === 2 ? decoded(6) : undecodable("badFamily");
    },
  );
}
