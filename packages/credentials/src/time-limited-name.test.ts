import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatTimeLimitedName, parseTimeLimitedName, type TimeLimitedName } from "./time-limited-name.ts";

const EXPIRY = 1_900_000_000;

describe("parseTimeLimitedName", () => {
  test.each<[string, TimeLimitedName]>([
    ["1900000000:alice", { form: "timestamp:user", expiresAtUnixSeconds: EXPIRY, user: "alice" }],
    ["alice:1900000000", { form: "user:timestamp", expiresAtUnixSeconds: EXPIRY, user: "alice" }],
    ["1900000000", { form: "timestamp", expiresAtUnixSeconds: EXPIRY }],
    // Both sides are timestamps: the one in front counts, as coturn has it.
    ["5:1900000000", { form: "timestamp:user", expiresAtUnixSeconds: 5, user: "1900000000" }],
    ["1900000000:a:b", { form: "timestamp:user", expiresAtUnixSeconds: EXPIRY, user: "a:b" }],
    ["a:b:1900000000", { form: "user:timestamp", expiresAtUnixSeconds: EXPIRY, user: "a:b" }],
    ["1900000000:", { form: "timestamp:user", expiresAtUnixSeconds: EXPIRY, user: "" }],
    [":1900000000", { form: "user:timestamp", expiresAtUnixSeconds: EXPIRY, user: "" }],
    // A telephone number is no timestamp, and a credential with it ends all the same.
    ["4915112345678:1900000000", { form: "user:timestamp", expiresAtUnixSeconds: EXPIRY, user: "4915112345678" }],
    ["1900000000:älice", { form: "timestamp:user", expiresAtUnixSeconds: EXPIRY, user: "älice" }],
  ])("reads %j", (username, expected) => {
    expect(parseTimeLimitedName(username)).toEqual(expected);
  });

  test.each([
    "",
    ":",
    "::",
    "alice",
    "alice:",
    ":alice",
    "alice:bob",
    "0",
    "01900000000",
    "0900000000:alice",
    "1900000000000",
    "1900000000000:alice",
    "alice:1900000000000",
    "-1900000000",
    "+1900000000:alice",
    "1900000000.5:alice",
    "1.9e9:alice",
    "0x71000000:alice",
    " 1900000000:alice",
    "1900000000 ",
    // Digits of other scripts.
    "١٩٠٠٠٠٠٠٠٠:alice",
    "1900000000:al\0ice",
    "1900000000:alice\n",
    "1900000000:\u001b[2J",
    "1900000000:\u009b2J",
    "1900000000:\ud800",
    `1900000000:${"a".repeat(498)}`,
    `1900000000:${"ä".repeat(249)}`,
  ])("does not take %j for one", (username) => {
    expect(parseTimeLimitedName(username)).toBeUndefined();
  });

  test("reads names of up to 508 bytes", () => {
    expect(parseTimeLimitedName(`1900000000:${"a".repeat(497)}`)).toBeDefined();
    expect(parseTimeLimitedName(`1900000000:${"ä".repeat(248)}`)).toBeDefined();
  });

  test("gives every name at most one end, which stands in the name", () => {
    fc.assert(
      fc.property(anyName(), (username) => {
        const name = parseTimeLimitedName(username);
        if (name === undefined) return;
        expect(name.expiresAtUnixSeconds).toBeLessThan(10_000_000_000);
        expect(formatTimeLimitedName(name)).toBe(username);
      }),
      { numRuns: 2000 },
    );
  });
});

describe("formatTimeLimitedName", () => {
  test("writes only what is read back the same, in any form", () => {
    const forms = fc.constantFrom("timestamp:user" as const, "user:timestamp" as const);
    fc.assert(
      fc.property(forms, fc.integer({ min: -2, max: 11_000_000_000 }), anyName(), (form, seconds, user) => {
        const name = { form, expiresAtUnixSeconds: seconds, user };
        let written: string;
        try {
          written = formatTimeLimitedName(name);
        } catch (error) {
          expect(error instanceof TypeError || error instanceof RangeError).toBe(true);
          return;
        }
        expect(parseTimeLimitedName(written)).toEqual(name);
      }),
      { numRuns: 2000 },
    );
  });

  test("refuses a user who would choose another end", () => {
    expect(() =>
      formatTimeLimitedName({ form: "user:timestamp", expiresAtUnixSeconds: EXPIRY, user: "9999999999" }),
    ).toThrow('can only be written as "timestamp:user"');
    expect(() =>
      formatTimeLimitedName({ form: "user:timestamp", expiresAtUnixSeconds: EXPIRY, user: "9999999999:mallory" }),
    ).toThrow(TypeError);
  });

  test.each([0, -1, 1.5, Number.NaN, Infinity, 10_000_000_000, 1_900_000_000_000])(
    "refuses timestamp %s",
    (seconds) => {
      expect(() => formatTimeLimitedName({ form: "timestamp", expiresAtUnixSeconds: seconds })).toThrow(RangeError);
    },
  );

  test.each(["a".repeat(498), "ä".repeat(249)])("refuses a name of more than 508 bytes", (user) => {
    expect(() => formatTimeLimitedName({ form: "timestamp:user", expiresAtUnixSeconds: EXPIRY, user })).toThrow(
      "longer than 508 bytes",
    );
  });

  test.each(["a\0", "a\n", "\u001b[31m", "\u0085", "\udc00"])("refuses user %j", (user) => {
    expect(() => formatTimeLimitedName({ form: "timestamp:user", expiresAtUnixSeconds: EXPIRY, user })).toThrow(
      "control characters",
    );
  });
});

/** Names that are near the rules: digits, colons, and anything else. */
function anyName(): fc.Arbitrary<string> {
  const part = fc.oneof(
    fc.integer({ min: 0, max: 99_999_999_999 }).map(String),
    fc.constantFrom("", ":", "0", "alice", "ä", "\0", "\n", "\ud800"),
    fc.string({ unit: "grapheme", maxLength: 12 }),
  );
  return fc.array(part, { maxLength: 4 }).map((parts) => parts.join(":"));
}
