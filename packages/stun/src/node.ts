import * as crypto from "node:crypto";
import type { StunCrypto } from "./crypto.ts";

/** {@link StunCrypto} by `node:crypto`. */
export const nodeCrypto: StunCrypto = {
  hmac(algorithm, key, chunks) {
    const hmac = crypto.createHmac(algorithm, key);
    for (const chunk of chunks) hmac.update(chunk);
    return hmac.digest();
  },
  digest(algorithm, data) {
    return crypto.hash(algorithm, data, "buffer");
  },
};
