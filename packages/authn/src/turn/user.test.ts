import * as fc from "fast-check";
import { expect, test } from "vitest";
import { normalizeUser } from "./user.ts";

test.each([
  ["alice", "alice"],
  ["Alice", "alice"],
  ["ＡＬＩＣＥ", "alice"],
  ["a\u0308", "\u00e4"],
  ["Ä", "\u00e4"],
  ["ΣΊΣΥΦΟΣ", "σίσυφος"],
  ["100", "100"],
  ["a b", "a b"],
])("writes %j as %j", (user, expected) => {
  expect(normalizeUser(user)).toBe(expected);
});

test("writes what it has written the same", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (user) => {
      expect(normalizeUser(normalizeUser(user))).toBe(normalizeUser(user));
    }),
  );
});
