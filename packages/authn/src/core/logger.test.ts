import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { printable } from "./logger.ts";

describe("printable", () => {
  test.each([
    ["alice", "alice"],
    ["a\nb", String.raw`a\u{a}b`],
    ["\u001B[31mred", String.raw`\u{1b}[31mred`],
    ["nul\0", String.raw`nul\u{0}`],
    ["\u202Eabc", String.raw`\u{202e}abc`],
    ["\u2028", String.raw`\u{2028}`],
    ["\u009B", String.raw`\u{9b}`],
    ["\uD800", String.raw`\u{d800}`],
    [String.raw`\u{a}`, String.raw`\\u{a}`],
    ["Zoë 🎉", "Zoë 🎉"],
  ])("%j becomes %j", (text, expected) => {
    expect(printable(text)).toBe(expected);
  });

  test("is one line without controls, of bounded length, whatever comes", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 400 }), fc.integer({ min: 1, max: 64 }), (text, maxLength) => {
        const result = printable(text, { maxLength });
        expect(result).not.toMatch(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u);
        expect(result.length).toBeLessThanOrEqual(maxLength * 10 + 1);
      }),
    );
  });

  test("different short texts stay different", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: "binary", maxLength: 20 }),
        fc.string({ unit: "binary", maxLength: 20 }),
        (a, b) => {
          expect(printable(a) === printable(b)).toBe(a === b);
        },
      ),
    );
  });
});
