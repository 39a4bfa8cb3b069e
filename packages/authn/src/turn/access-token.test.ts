import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type AccessTokenAlgorithm, openAccessToken, sealAccessToken } from "./access-token.ts";

const LONG_TERM_KEY = "HGkj32KJGiuy098sdfaqbNjOiaz71923";
const claims = {
  macKey: Buffer.from("ZksjpweoixXmvn67534m"),
  // The first 48 bits are seconds; this timestamp has no fraction.
  issuedAtUnixMs: (92_470_300_704_768 / 65_536) * 1000,
  lifetimeSeconds: 3600,
};
const serverName = "blackdow.carleon.gov";
const nonce = Buffer.from("h4j3k2l2n4b5");

describe("the sample tickets of RFC 7635, Appendix A", () => {
  test.each<[AccessTokenAlgorithm, number, string]>([
    [
      "A256GCM",
      32,
      "000c68346a336b326c326e346235617ef134a3d5e44e9a19cc7dc104b0c03d03b2a551d8fdf5cd3b6dca6f10cfb77e5b2ddec84d293a5c50499359f0c2e26f76",
    ],
    [
      "A128GCM",
      16,
      "000c68346a336b326c326e3462357fb9e99f0827be3df1e1bd651493d3031d36df57079784aee5eacb65fad4f27fab1a3f97974b69f851b24bf5af09eda357e0",
    ],
  ])("%s", (algorithm, keyLength, sample) => {
    const options = { algorithm, key: Buffer.from(LONG_TERM_KEY).subarray(0, keyLength), serverName };
    const opened = openAccessToken(Buffer.from(sample, "hex"), options);
    expect(opened).toEqual({ ok: true, claims: { ...claims, macKey: Uint8Array.from(claims.macKey) } });
    expect(Buffer.from(sealAccessToken(claims, { ...options, nonce })).toString("hex")).toBe(sample);
  });
});

describe("openAccessToken", () => {
  const key = new Uint8Array(32).fill(7);
  const options = { algorithm: "A256GCM", key, serverName: "relay.example" } as const;
  const token = sealAccessToken(claims, { ...options, nonce });

  test("opens what was sealed, for any claims", () => {
    const any = fc.record({
      macKey: fc.uint8Array({ minLength: 20, maxLength: 64 }),
      issuedAtUnixMs: fc.nat({ max: 4_000_000_000_000 }),
      lifetimeSeconds: fc.nat({ max: 0xffff_ffff }),
    });
    fc.assert(
      fc.property(any, fc.uint8Array({ minLength: 12, maxLength: 12 }), (claims, nonce) => {
        expect(openAccessToken(sealAccessToken(claims, { ...options, nonce }), options)).toEqual({ ok: true, claims });
      }),
    );
  });

  test("refuses every altered bit, a shorter or longer token, another key and another server", () => {
    for (let bit = 0; bit < token.length * 8; bit++) {
      const altered = Uint8Array.from(token);
      altered[bit >> 3] = (token[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(openAccessToken(altered, options).ok).toBe(false);
    }
    for (let length = 0; length < token.length; length++) {
      expect(openAccessToken(token.subarray(0, length), options).ok).toBe(false);
    }
    expect(openAccessToken(Buffer.concat([token, token]), options).ok).toBe(false);
    expect(openAccessToken(token, { ...options, key: new Uint8Array(32) })).toMatchObject({
      error: { code: "sealed" },
    });
    expect(openAccessToken(token, { ...options, serverName: "other" })).toMatchObject({ error: { code: "sealed" } });
  });

  test("never throws, whatever it is given", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 5000 }), fc.boolean(), (bytes, plausible) => {
        const altered = plausible ? Buffer.concat([Uint8Array.of(0, 12), bytes]) : bytes;
        expect(openAccessToken(altered, options).ok).toBe(false);
      }),
    );
  });

  test("says what is wrong and where", () => {
    expect(openAccessToken(new Uint8Array(63), options)).toEqual({
      ok: false,
      error: { code: "tooShort", offset: 63 },
    });
    expect(openAccessToken(new Uint8Array(64), options)).toEqual({
      ok: false,
      error: { code: "badNonceLength", offset: 0 },
    });
  });

  test.each([
    [{ macKey: new Uint8Array(19) }, {}],
    [{ macKey: new Uint8Array(65) }, {}],
    [{ lifetimeSeconds: -1 }, {}],
    [{ issuedAtUnixMs: -1 }, {}],
    [{}, { nonce: new Uint8Array(11) }],
    [{}, { key: new Uint8Array(16) }],
  ])("%j %j can't be sealed", (wrong, wrongOptions) => {
    expect(() => sealAccessToken({ ...claims, ...wrong }, { ...options, nonce, ...wrongOptions })).toThrow(RangeError);
  });
});
