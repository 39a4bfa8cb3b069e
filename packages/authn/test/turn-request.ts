import {
  decodeMessage,
  encodeMessage,
  longTermKey,
  transportAddress,
  userhashOf,
  verifyIntegrity,
} from "@turnpike/stun";
import { nodeCrypto } from "@turnpike/stun/node";
import type { PasswordAlgorithm, TurnRequest } from "../src/turn/index.ts";

export const REALM = "turnpike";
/** The moment of every request that names no other, in wall-clock milliseconds. */
export const NOW = 1_700_000_000_000;

/** What a client sends. */
export interface RequestOptions {
  readonly username?: string;
  /** Makes the key. Give this or `key`. */
  readonly password?: string;
  readonly key?: Uint8Array;
  readonly passwordAlgorithm?: PasswordAlgorithm;
  /** Sends USERHASH and no USERNAME. */
  readonly anonymous?: boolean;
  readonly accessToken?: Uint8Array;
  readonly unixMs?: number;
  readonly questionId?: number;
  readonly address?: string;
}

/** A request as the engine hands it over, with a real integrity attribute; it counts how often that is checked. */
export interface TestRequest extends TurnRequest {
  readonly checks: { count: number };
}

export function turnRequest(options: RequestOptions): TestRequest {
  const { username = "", password = "", passwordAlgorithm = "md5", anonymous = false } = options;
  const key =
    options.key ?? longTermKey({ algorithm: passwordAlgorithm, username, realm: REALM, password, crypto: nodeCrypto });
  const algorithm = passwordAlgorithm === "md5" ? "sha1" : "sha256";
  const bytes = encodeMessage({
    class: "request",
    method: "allocate",
    transactionId: new Uint8Array(12),
    attributes: [],
    integrity: { algorithm, key, crypto: nodeCrypto },
  });
  const decoded = decodeMessage(bytes);
  if (!decoded.ok) throw new Error(`The request is malformed: ${decoded.error.code}`);
  const { message } = decoded;
  const checks = { count: 0 };
  return {
    method: "allocate",
    ...(options.username === undefined || anonymous ? {} : { username }),
    ...(anonymous ? { userhash: userhashOf({ username, realm: REALM, crypto: nodeCrypto }) } : {}),
    ...(options.accessToken === undefined ? {} : { accessToken: options.accessToken }),
    realm: REALM,
    passwordAlgorithm,
    transactionId: new Uint8Array(12),
    client: transportAddress(options.address ?? "198.51.100.7", 40_000),
    transport: "udp",
    unixMs: options.unixMs ?? NOW,
    questionId: options.questionId ?? 1,
    checks,
    checkIntegrity(key) {
      checks.count += 1;
      return verifyIntegrity(message, { algorithm, key, crypto: nodeCrypto });
    },
  };
}
