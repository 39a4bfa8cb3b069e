import { type TransportAddress, transportAddress } from "@turnpike/stun";
import { nodeCrypto } from "@turnpike/stun/node";
import fc from "fast-check";
import { expect, test } from "vitest";
import { base64Length, readBase64, writeBase64 } from "./base64.ts";
import { Nonces } from "./nonce.ts";
import { Slab } from "./slab.ts";

const key = new Uint8Array(32).fill(7);
const nonces = new Nonces({ key, crypto: nodeCrypto, lifetimeSeconds: 600, usernameAnonymity: true });
const client = transportAddress("198.51.100.7", 4000);
const AT = 1_700_000_000_000;

function stateOf(nonce: Uint8Array, of: TransportAddress = client, unixMs: number = AT): string {
  const message = Uint8Array.from([9, 9, 9, ...nonce, 9]);
  return nonces.check(message, 3, nonce.length, of, unixMs);
}

test("a nonce is good for the address it was told to and for its lifetime, with the cookie and the features", () => {
  const nonce = nonces.issue(client, AT);
  expect(Buffer.from(nonce).toString("latin1")).toMatch(/^obMatJos2wAAA[\w-]{22}$/);
  expect(stateOf(nonce)).toBe("valid");
  expect(stateOf(nonce, client, AT + 599_999)).toBe("valid");
  expect(stateOf(nonce, client, AT + 600_000)).toBe("stale");
  expect(stateOf(nonce, client, AT - 1000)).toBe("stale");
  expect(stateOf(nonce, transportAddress("198.51.100.7", 4001))).toBe("forged");
  expect(stateOf(nonce, transportAddress("198.51.100.8", 4000))).toBe("forged");
  expect([nonces.checkAgain(nonce, AT), nonces.checkAgain(nonce, AT + 600_000)]).toEqual(["valid", "stale"]);
});

test("whatever byte of a nonce is changed, cut off or added: it is forged", () => {
  const nonce = nonces.issue(client, AT);
  fc.assert(
    fc.property(fc.nat({ max: nonce.length - 1 }), fc.integer({ min: 0, max: 255 }), (at, byte) => {
      const changed = nonce.slice();
      changed[at] = byte;
      expect(stateOf(changed)).toBe(byte === nonce[at] ? "valid" : "forged");
      expect(stateOf(nonce.slice(0, at))).toBe("forged");
      expect(stateOf(Uint8Array.from([...nonce, byte]))).toBe("forged");
    }),
  );
});

test("Base64 is as Node writes it, and has one spelling", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 1, maxLength: 40 }),
      fc.nat(),
      fc.nat({ max: 255 }),
      (bytes, place, other) => {
        const expected = Buffer.from(bytes).toString("base64url");
        const text = new Uint8Array(base64Length(bytes.length));
        writeBase64(bytes, text, 0);
        expect(Buffer.from(text).toString("latin1")).toBe(expected);
        const read = new Uint8Array(bytes.length);
        expect(readBase64(text, 0, read)).toBe(true);
        expect(read).toEqual(bytes);
        const at = place % text.length;
        if (text[at] === other) return;
        text[at] = other;
        // Another text is no Base64, or says something else.
        expect(readBase64(text, 0, read) && Buffer.compare(read, bytes) === 0).toBe(false);
      },
    ),
  );
});

test("parts of a slab are zero, as long as asked for, and nobody else's", () => {
  fc.assert(
    fc.property(fc.array(fc.nat({ max: 5000 }), { minLength: 1, maxLength: 60 }), (lengths) => {
      const slab = new Slab();
      const parts = lengths.map((length, index) => {
        const part = slab.take(length);
        expect(part.length).toBe(length);
        expect(part.every((byte) => byte === 0)).toBe(true);
        return part.fill(index + 1);
      });
      for (const [index, part] of parts.entries()) expect(part.every((byte) => byte === index + 1)).toBe(true);
    }),
  );
});
