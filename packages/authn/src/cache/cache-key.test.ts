import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { cacheKey } from "./cache-key.ts";

const part = fc.oneof(
  fc.string({ unit: "binary", maxLength: 4 }),
  fc.constantFrom("", ":", "1:", "0:", "\0", "1:a", "a1:"),
);
const identity = fc.record({ provider: part, realm: part, username: part });

describe("cacheKey", () => {
  it("gives different identities different keys, and equal ones equal keys", () => {
    fc.assert(
      fc.property(identity, identity, (a, b) => {
        const equal = a.provider === b.provider && a.realm === b.realm && a.username === b.username;
        expect(cacheKey(a) === cacheKey(b)).toBe(equal);
      }),
      { numRuns: 2000 },
    );
  });

  it.each([
    [
      { provider: "a", realm: "bc", username: "" },
      { provider: "ab", realm: "c", username: "" },
    ],
    [
      { provider: "", realm: "", username: "ann\0x" },
      { provider: "", realm: "", username: "ann" },
    ],
    [
      { provider: "1:a", realm: "", username: "" },
      { provider: "", realm: "1:a", username: "" },
    ],
    [
      { provider: "", realm: "", username: "\ud800" },
      { provider: "", realm: "", username: "\udfff" },
    ],
  ])("keeps %j and %j apart", (a, b) => {
    expect(cacheKey(a)).not.toBe(cacheKey(b));
  });
});
