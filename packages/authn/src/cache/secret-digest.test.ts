import { describe, expect, it } from "vitest";
import { Secret } from "../core/secret.ts";
import { OverloadedError } from "../verifiers/limiter.ts";
import { sameDigest, ScryptDigester } from "./secret-digest.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const hex = (digest: Uint8Array): string => Buffer.from(digest).toString("hex");

describe("ScryptDigester", () => {
  it("agrees with RFC 7914 §12", async () => {
    const digester = new ScryptDigester({ cost: 16384 });
    const digest = await digester.digest(new Secret("pleaseletmein"), bytes("SodiumChloride"));
    // The vector has 64 bytes: the first 32 do not depend on how many follow (PBKDF2 makes them block by block).
    expect(hex(digest)).toBe("7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2");
  });

  it("has another digest for another salt, and reads a password to its end", async () => {
    const digester = new ScryptDigester({ cost: 1024 });
    const [a, b] = [digester.salt(), digester.salt()];
    expect(a).toHaveLength(16);
    expect(hex(a)).not.toBe(hex(b));
    const one = await digester.digest(new Secret("x"), a);
    expect(sameDigest(one, await digester.digest(new Secret("x"), a))).toBe(true);
    expect(sameDigest(one, await digester.digest(new Secret("x"), b))).toBe(false);
    expect(sameDigest(one, await digester.digest(new Secret("x\0y"), a))).toBe(false);
    const long = "p".repeat(72);
    const cut = await digester.digest(new Secret(long), a);
    expect(sameDigest(cut, await digester.digest(new Secret(`${long}!`), a))).toBe(false);
    expect(sameDigest(one, one.subarray(1))).toBe(false);
  });

  it("works off the event loop, so many at once, so many waiting", async () => {
    const digester = new ScryptDigester({ cost: 1024, maxActive: 1, maxQueued: 1 });
    const salt = digester.salt();
    let turned = false;
    const first = digester.digest(new Secret("a"), salt).then(() => expect(turned).toBe(true));
    const second = digester.digest(new Secret("b"), salt);
    await expect(digester.digest(new Secret("c"), salt)).rejects.toBeInstanceOf(OverloadedError);
    turned = true;
    await Promise.all([first, second]);
  });

  it.each([0, 1000, 512, 2 ** 18, Number.NaN, 1024.5])("refuses a cost of %d", (cost) => {
    expect(() => new ScryptDigester({ cost })).toThrow(RangeError);
  });
});
