import * as fc from "fast-check";
import * as stun from "../src/index.ts";

/** Bytes of a length within bounds. */
export const bytes = (minLength: number, maxLength: number): fc.Arbitrary<Uint8Array> =>
  fc.uint8Array({ minLength, maxLength });

/** Text as attributes hold it: well-formed, of any script. */
export const text = (maxLength: number): fc.Arbitrary<string> => fc.string({ unit: "binary", maxLength });

export const ipAddress: fc.Arbitrary<stun.IpAddress> = fc.oneof(
  bytes(4, 4).map((value) => stun.ipFromBytes(value, 0, 4)),
  bytes(16, 16).map((value) => stun.ipFromBytes(value, 0, 6)),
  // Runs of zeros are what RFC 5952 is about.
  fc
    .array(fc.constantFrom(0, 0, 0, 1, 0xff), { minLength: 16, maxLength: 16 })
    .map((value) => stun.ipFromBytes(Uint8Array.from(value), 0, 6)),
);

const port = fc.integer({ min: 0, max: 65_535 });

export const transportAddress: fc.Arbitrary<stun.TransportAddress> = fc
  .tuple(ipAddress, port)
  .map(([ip, port]) => stun.withPort(ip, port));

export const transactionId: fc.Arbitrary<Uint8Array> = bytes(12, 12);

const uint16 = fc.integer({ min: 0, max: 0xffff });
const uint32 = fc.integer({ min: 0, max: 0xffff_ffff });
const uint64 = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const family = fc.constantFrom<4 | 6>(4, 6);
const phrase = text(127);
const stunError = fc.record({ code: fc.integer({ min: 300, max: 699 }), reason: phrase });
const passwordAlgorithm = fc.record({ algorithm: uint16, parameters: bytes(0, 9) });

/** A codec with the values that it can hold. */
export interface Case<T = unknown> {
  readonly codec: stun.AttributeCodec<T>;
  readonly values: fc.Arbitrary<T>;
}

const pair = <T>(codec: stun.AttributeCodec<T>, values: fc.Arbitrary<T>): Case<T> => ({ codec, values });

/** Runs `use` with a codec and its values, whatever their type. */
export type AnyCase = <Result>(use: <T>(of: Case<T>) => Result) => Result;
const any =
  <T>(of: Case<T>): AnyCase =>
  (use) =>
    use(of);

/** Every attribute, by its name in the registry. */
export const attributeCases: Readonly<Record<stun.AttributeName, AnyCase>> = {
  mappedAddress: any(pair(stun.mappedAddress, transportAddress)),
  changeRequest: any(pair(stun.changeRequest, fc.record({ changeIp: fc.boolean(), changePort: fc.boolean() }))),
  username: any(pair(stun.username, text(127))),
  messageIntegrity: any(pair(stun.messageIntegrity, bytes(20, 20))),
  errorCode: any(pair(stun.errorCode, stunError)),
  unknownAttributes: any(pair(stun.unknownAttributes, fc.array(uint16, { maxLength: 9 }))),
  channelNumber: any(pair(stun.channelNumber, uint16)),
  lifetime: any(pair(stun.lifetime, uint32)),
  xorPeerAddress: any(pair(stun.xorPeerAddress, transportAddress)),
  data: any(pair(stun.data, bytes(0, 50))),
  realm: any(pair(stun.realm, phrase)),
  nonce: any(pair(stun.nonce, phrase)),
  xorRelayedAddress: any(pair(stun.xorRelayedAddress, transportAddress)),
  requestedAddressFamily: any(pair(stun.requestedAddressFamily, family)),
  evenPort: any(pair(stun.evenPort, fc.boolean())),
  requestedTransport: any(pair(stun.requestedTransport, fc.integer({ min: 0, max: 255 }))),
  dontFragment: any(pair(stun.dontFragment, fc.constant<true>(true))),
  accessToken: any(pair(stun.accessToken, bytes(0, 50))),
  messageIntegritySha256: any(
    pair(stun.messageIntegritySha256, fc.oneof(...[16, 20, 24, 28, 32].map((length) => bytes(length, length)))),
  ),
  passwordAlgorithm: any(pair(stun.passwordAlgorithm, passwordAlgorithm)),
  userhash: any(pair(stun.userhash, bytes(32, 32))),
  xorMappedAddress: any(pair(stun.xorMappedAddress, transportAddress)),
  reservationToken: any(pair(stun.reservationToken, bytes(8, 8))),
  priority: any(pair(stun.priority, uint32)),
  useCandidate: any(pair(stun.useCandidate, fc.constant<true>(true))),
  padding: any(pair(stun.padding, bytes(0, 50))),
  responsePort: any(pair(stun.responsePort, port)),
  connectionId: any(pair(stun.connectionId, uint32)),
  additionalAddressFamily: any(pair(stun.additionalAddressFamily, family)),
  addressErrorCode: any(
    pair(stun.addressErrorCode, fc.record({ family, code: fc.integer({ min: 300, max: 699 }), reason: phrase })),
  ),
  passwordAlgorithms: any(pair(stun.passwordAlgorithms, fc.array(passwordAlgorithm, { maxLength: 4 }))),
  alternateDomain: any(pair(stun.alternateDomain, fc.domain())),
  icmp: any(
    pair(
      stun.icmp,
      fc.record({
        icmpType: fc.integer({ min: 0, max: 127 }),
        icmpCode: fc.integer({ min: 0, max: 511 }),
        errorData: uint32,
      }),
    ),
  ),
  software: any(pair(stun.software, phrase)),
  alternateServer: any(pair(stun.alternateServer, transportAddress)),
  cacheTimeout: any(pair(stun.cacheTimeout, uint32)),
  fingerprint: any(pair(stun.fingerprint, uint32)),
  iceControlled: any(pair(stun.iceControlled, uint64)),
  iceControlling: any(pair(stun.iceControlling, uint64)),
  responseOrigin: any(pair(stun.responseOrigin, transportAddress)),
  otherAddress: any(pair(stun.otherAddress, transportAddress)),
  thirdPartyAuthorization: any(pair(stun.thirdPartyAuthorization, text(300))),
  mobilityTicket: any(pair(stun.mobilityTicket, bytes(0, 50))),
};

/** An attribute to encode. */
export const encodedAttribute: fc.Arbitrary<stun.EncodedAttribute> = fc.oneof(
  ...Object.entries(attributeCases)
    .filter(([name]) => !["fingerprint", "messageIntegrity", "messageIntegritySha256"].includes(name))
    .map(([, withCase]) => withCase(({ codec, values }) => values.map((value) => stun.attribute(codec, value)))),
  fc
    .tuple(fc.integer({ min: 0xc100, max: 0xffff }), bytes(0, 20))
    .map(([type, value]) => stun.rawAttribute(type, value)),
);

export const messageClass: fc.Arbitrary<stun.MessageClass> = fc.constantFrom<stun.MessageClass>(
  "request",
  "indication",
  "success",
  "error",
);

const methodNames: stun.Method[] = [];
let name: stun.Method;
for (name in stun.methods) methodNames.push(name);
export const method: fc.Arbitrary<stun.Method> = fc.constantFrom(...methodNames);

/** The bytes of a message, well-formed unless `corrupted`. */
export const message: fc.Arbitrary<Uint8Array> = fc
  .record({
    class: messageClass,
    method,
    transactionId,
    attributes: fc.array(encodedAttribute, { maxLength: 8 }),
    fingerprint: fc.boolean(),
  })
  .map(stun.encodeMessage);

/** Messages with some bytes changed and the end cut off or grown. */
export const corrupted: fc.Arbitrary<Uint8Array> = fc
  .tuple(
    message,
    fc.array(fc.tuple(fc.nat(300), fc.nat(255)), { maxLength: 4 }),
    fc.integer({ min: -40, max: 8 }),
    fc.boolean(),
  )
  .map(([good, changes, growth, mendLength]) => {
    const bad = new Uint8Array(Math.max(0, good.length + growth));
    bad.set(good.subarray(0, bad.length));
    for (const [at, value] of changes) if (at < bad.length) bad[at] = value;
    // Otherwise nearly every one would be stopped by the length check, and the attributes would be tried by few.
    if (mendLength && bad.length >= 20) new DataView(bad.buffer).setUint16(2, bad.length - 20);
    return bad;
  });

/** `content` between two walls of `poison`. */
export function surround(content: Uint8Array, poison: number): { bytes: Uint8Array; offset: number; length: number } {
  const wall = 64;
  const bytes = new Uint8Array(content.length + 2 * wall).fill(poison);
  bytes.set(content, wall);
  return { bytes, offset: wall, length: content.length };
}
