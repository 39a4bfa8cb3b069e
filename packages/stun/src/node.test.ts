import { createHmac } from "node:crypto";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { nodeCrypto } from "./node.ts";

const bytes = (maxLength: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ maxLength });

test("an HMAC is that of node:crypto, whatever the lengths of key and message", () => {
  fc.assert(
    fc.property(
      fc.constantFrom("sha1", "sha256"),
      bytes(150),
      fc.array(bytes(1500), { maxLength: 3 }),
      (algorithm, key, chunks) => {
        const expected = createHmac(algorithm, key).update(Buffer.concat(chunks)).digest("hex");
        expect(Buffer.from(nodeCrypto.hmac(algorithm, key, chunks)).toString("hex")).toBe(expected);
      },
    ),
  );
});

test.each([63, 64, 65])("a key of %i bytes, beside the block of the hash", (length) => {
  const key = new Uint8Array(length).fill(0xa5);
  for (const size of [0, 1, 2048, 2049]) {
    const message = new Uint8Array(size).fill(7);
    const expected = createHmac("sha1", key).update(message).digest("hex");
    expect(Buffer.from(nodeCrypto.hmac("sha1", key, [message])).toString("hex")).toBe(expected);
  }
});

test("a result is not overwritten by the next", () => {
  const key = Uint8Array.of(1);
  const first = nodeCrypto.hmac("sha256", key, []);
  const copy = first.slice();
  nodeCrypto.hmac("sha256", key, [Uint8Array.of(2)]);
  expect(first).toEqual(copy);
});
