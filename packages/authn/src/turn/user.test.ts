import * as fc from "fast-check";
import { expect, test } from "vitest";
import { claimedUser, normalizeUser } from "./user.ts";

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

test.each([
  ["Alice", "alice"],
  ["1900000000:Alice", "alice"],
  ["Alice:1900000000", "alice"],
  ["1900000000:alice.x1y2", "alice"],
  ["1900000000", "1900000000"],
  ["a:b", "a:b"],
])("counts %j for %j", (username, user) => {
  expect(claimedUser(username)).toBe(user);
});
