import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createRevocationList, type Revocation, type RevocationKind } from "./revocations.ts";

const NOW = 1_700_000_000_000;
const at = { nowUnixMs: NOW };
const alice = { username: "1700000060:alice", actor: "alice", credentialId: "c1", label: "meeting" };

describe("createRevocationList", () => {
  test.each<[RevocationKind, string]>([
    ["username", "1700000060:alice"],
    ["credentialId", "c1"],
    ["label", "meeting"],
    ["actor", "ALICE"],
  ])("revokes by %s until the end", (by, value) => {
    const list = createRevocationList();
    expect(list.isRevoked(alice, at)).toBe(false);
    list.revoke({ by, value, untilUnixMs: NOW + 1000 }, at);
    expect(list.isRevoked(alice, at)).toBe(true);
    expect(list.isRevoked({ username: "bob", actor: "bob" }, at)).toBe(false);
    expect(list.isRevoked(alice, { nowUnixMs: Number.NaN })).toBe(true);
    expect(list.isRevoked(alice, { nowUnixMs: NOW + 999 })).toBe(true);
    expect(list.isRevoked(alice, { nowUnixMs: NOW + 1000 })).toBe(false);
    expect(list.size).toBe(0);
  });

  test("takes one kind of name for no other", () => {
    const list = createRevocationList();
    list.revoke({ by: "label", value: "alice", untilUnixMs: NOW + 1000 }, at);
    expect(list.isRevoked({ username: "alice", actor: "alice", credentialId: "alice" }, at)).toBe(false);
  });

  test("knows by itself when a time-limited name ends, and needs to be told otherwise", () => {
    const list = createRevocationList();
    list.revoke({ by: "username", value: alice.username }, at);
    expect(list.isRevoked(alice, { nowUnixMs: NOW + 59_999 })).toBe(true);
    expect(list.isRevoked(alice, { nowUnixMs: NOW + 60_000 })).toBe(false);
    expect(() => list.revoke({ by: "username", value: "alice" }, at)).toThrow("untilUnixMs is missing");
    expect(() => list.revoke({ by: "label", value: "1700000060:alice" }, at)).toThrow(TypeError);
    expect(() => list.revoke({ by: "label", value: "x", untilUnixMs: Number.NaN }, at)).toThrow(RangeError);
  });

  test("tells of each revocation once, so that living allocations can be ended", () => {
    const told: Revocation[] = [];
    const list = createRevocationList({ onRevoked: (revocation) => told.push(revocation) });
    list.revoke({ by: "label", value: "x", untilUnixMs: NOW + 1000 }, at);
    list.revoke({ by: "label", value: "x", untilUnixMs: NOW + 2000 }, at);
    list.revoke({ by: "label", value: "x", untilUnixMs: NOW + 500 }, at);
    list.revoke({ by: "label", value: "past", untilUnixMs: NOW }, at);
    expect(told).toEqual([{ by: "label", value: "x", untilUnixMs: NOW + 1000 }]);
    expect(list.isRevoked({ ...alice, label: "x" }, { nowUnixMs: NOW + 1999 })).toBe(true);
  });

  test("drops what has ended first, then what ends soonest, and says so", () => {
    const forgotten: string[] = [];
    const list = createRevocationList({ maxEntries: 2, onOverflow: ({ value }) => forgotten.push(value) });
    const revoke = (value: string, ms: number, nowUnixMs = NOW): void =>
      list.revoke({ by: "label", value, untilUnixMs: NOW + ms }, { nowUnixMs });
    revoke("long", 5000);
    revoke("short", 1000);
    revoke("longer", 6000);
    expect(forgotten).toEqual(["short"]);
    revoke("last", 9000, NOW + 5000);
    expect(forgotten).toEqual(["short"]);
    expect(list.size).toBe(2);
  });

  test.each([0, -1, 1.5, Number.NaN])("refuses maxEntries %s", (maxEntries) => {
    expect(() => createRevocationList({ maxEntries })).toThrow(RangeError);
  });

  test("agrees with a plain list, as long as it isn't full", () => {
    const value = fc.constantFrom("a", "b", "A");
    const step = fc.record({
      by: fc.constantFrom<RevocationKind>("username", "credentialId", "label", "actor"),
      value,
      lifeMs: fc.integer({ min: -5, max: 50 }),
      laterMs: fc.integer({ min: 0, max: 20 }),
      ask: fc.record({
        username: value,
        actor: value.map((text) => text.toLowerCase()),
        credentialId: value,
        label: value,
      }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const list = createRevocationList();
        const model: { by: string; value: string; untilMs: number }[] = [];
        let nowUnixMs = NOW;
        for (const { by, value, lifeMs, laterMs, ask } of steps) {
          list.revoke({ by, value, untilUnixMs: nowUnixMs + lifeMs }, { nowUnixMs });
          model.push({ by, value: by === "actor" ? value.toLowerCase() : value, untilMs: nowUnixMs + lifeMs });
          nowUnixMs += laterMs;
          const names = Object.entries(ask);
          const expected = model.some(
            (entry) => entry.untilMs > nowUnixMs && names.some(([by, name]) => by === entry.by && name === entry.value),
          );
          expect(list.isRevoked(ask, { nowUnixMs })).toBe(expected);
        }
      }),
    );
  });
});
