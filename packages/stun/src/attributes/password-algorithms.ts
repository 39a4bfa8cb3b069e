import { paddedLength, readUint16, writeUint16 } from "../bytes.ts";
import { type AttributeCodec, decoded, defineAttribute, requireUnsigned, undecodable } from "./codec.ts";

/** How a key is made from a password, as it stands on the wire. */
export interface PasswordAlgorithm {
  /** Its number in IANA's registry "STUN Password Algorithms", see {@link passwordAlgorithmNumbers}. */
  readonly algorithm: number;
  /** Empty for both known algorithms. */
  readonly parameters: Uint8Array;
}

/** RFC 8489 §18.5. */
export const passwordAlgorithmNumbers = { md5: 0x0001, sha256: 0x0002 } as const;

/** RFC 8489 §14.12: the algorithm that the client chose. */
export const passwordAlgorithm: AttributeCodec<PasswordAlgorithm> = defineAttribute(
  "passwordAlgorithm",
  (value) => encodeAlgorithms([value]),
  (value) => {
    const algorithms = decodeAlgorithms(value);
    const [only] = algorithms ?? [];
    return algorithms?.length === 1 && only !== undefined ? decoded(only) : undecodable("wrongLength");
  },
);

/** RFC 8489 §14.11: the algorithms that the server takes, best first. */
export const passwordAlgorithms: AttributeCodec<readonly PasswordAlgorithm[]> = defineAttribute(
  "passwordAlgorithms",
  encodeAlgorithms,
  (value) => {
    const algorithms = decodeAlgorithms(value);
    return algorithms === undefined ? undecodable("wrongLength") : decoded(algorithms);
  },
);

function encodeAlgorithms(algorithms: readonly PasswordAlgorithm[]): Uint8Array {
  let length = 0;
  for (const { algorithm, parameters } of algorithms) {
    requireUnsigned("PASSWORD-ALGORITHM", algorithm, 0xffff);
    requireUnsigned("PASSWORD-ALGORITHM", parameters.length, 0xffff);
    length += 4 + paddedLength(parameters.length);
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const { algorithm, parameters } of algorithms) {
    writeUint16(bytes, at, algorithm);
    writeUint16(bytes, at + 2, parameters.length);
    bytes.set(parameters, at + 4);
    at += 4 + paddedLength(parameters.length);
  }
  return bytes;
}

/** The padding of the last parameters may stand behind the value, as that of every attribute does. */
function decodeAlgorithms(value: Uint8Array): PasswordAlgorithm[] | undefined {
  const algorithms: PasswordAlgorithm[] = [];
  let at = 0;
  while (at < value.length) {
    if (at + 4 > value.length) return undefined;
    const length = readUint16(value, at + 2);
    if (at + 4 + length > value.length) return undefined;
    algorithms.push({ algorithm: readUint16(value, at), parameters: value.subarray(at + 4, at + 4 + length) });
    at += 4 + paddedLength(length);
  }
  return algorithms;
}
