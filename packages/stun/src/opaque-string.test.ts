import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { longTermKey, userhashOf } from "./long-term-credential.ts";
import { nodeCrypto } from "./node.ts";
import { opaqueString } from "./opaque-string.ts";

describe("opaqueString", () => {
  // RFC 8265 §4.3, tables 4 and 5.
  test.each([
    ["correct horse battery staple", "correct horse battery staple"],
    ["Correct Horse Battery Staple", "Correct Horse Battery Staple"],
    ["\u03c0\u00df\u00e5", "\u03c0\u00df\u00e5"],
    ["Jack of \u2666s", "Jack of \u2666s"],
    ["foo\u1680bar", "foo bar"],
    ["a\u0301", "\u00e1"],
    ["\u30de\u30c8\u30ea\u30c3\u30af\u30b9", "\u30de\u30c8\u30ea\u30c3\u30af\u30b9"],
    ["\uff21", "\uff21"],
    ["l\u00b7l", "l\u00b7l"],
    ["\u0375\u03b1", "\u0375\u03b1"],
    ["\u05d0\u05f3", "\u05d0\u05f3"],
    ["\u30ab\u30fb", "\u30ab\u30fb"],
    ["\u0661\u0662", "\u0661\u0662"],
    ["\u{1f600}", "\u{1f600}"],
  ])("%j is %j", (text, expected) => {
    expect(opaqueString(text)).toBe(expected);
  });

  test.each([
    "",
    "my cat is a \u0009by",
    "a\nb",
    "a\rb",
    "a\0b",
    "\u001b[31mred",
    "\u007f",
    "\u0085",
    "The\u00adM\u00aatr\u2168",
    "\ud800",
    "\udc00a",
    "\u2028",
    "\ue000",
    "\ufdd0",
    "\u{10ffff}",
    "\u0378",
    "\u200d",
    "\u200b",
    "\ufeffa",
    "\u1100",
    "\u0640",
    "a\u00b7b",
    "\u0375a",
    "a\u05f3",
    "\u30fb",
    "\u0661\u06f1",
  ])("refuses %j", (text) => {
    expect(opaqueString(text)).toBeUndefined();
  });

  test("is idempotent, and leaves printable ASCII alone", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", minLength: 1, maxLength: 8 }), (text) => {
        const once = opaqueString(text);
        if (once !== undefined) expect(opaqueString(once)).toBe(once);
      }),
    );
    fc.assert(fc.property(fc.string({ unit: "grapheme-ascii", minLength: 1 }), (text) => opaqueString(text) === text));
  });
});

describe("long-term credentials", () => {
  test("md5(user:realm:password) of RFC 8489 §9.2.2", () => {
    const key = longTermKey({
      algorithm: "md5",
      username: "user",
      realm: "realm",
      password: "pass",
      crypto: nodeCrypto,
    });
    expect(Buffer.from(key).toString("hex")).toBe("8493fbc53ba582fb4c044c456bdc40eb");
  });

  test("an unusable password throws and isn't in the message", () => {
    const make = (password: string) => () =>
      longTermKey({ algorithm: "md5", username: "user", realm: "realm", password, crypto: nodeCrypto });
    expect(make("sec\nret")).toThrow(
      new TypeError("Cannot use this password: it is empty or has characters that OpaqueString (RFC 8265) rules out"),
    );
    expect(make("")).toThrow(TypeError);
    expect(() => userhashOf({ username: "", realm: "realm", crypto: nodeCrypto })).toThrow(TypeError);
  });
});
