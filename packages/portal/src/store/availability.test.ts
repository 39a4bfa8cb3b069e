import { describe, expect, it } from "vitest";
import { isStoreAway } from "./availability.ts";

const coded = (code: string, more: object = {}): Error => Object.assign(new Error("x"), { code, ...more });

describe("isStoreAway", () => {
  it.each([
    coded("57P01"),
    coded("57P03"),
    coded("08006"),
    coded("53300"),
    coded("57014"),
    coded("40P01"),
    coded("ECONNREFUSED"),
    new AggregateError([coded("ECONNREFUSED"), coded("ECONNREFUSED")]),
    new Error("Connection terminated unexpectedly"),
    new Error("timeout exceeded when trying to connect"),
    coded("ERR_SQLITE_ERROR", { errcode: 5 }),
  ])("knows %o", (error) => {
    expect(isStoreAway(error)).toBe(true);
  });

  it.each([
    coded("23505"),
    coded("42P01"),
    coded("ERR_SQLITE_ERROR", { errcode: 1 }),
    new AggregateError([]),
    new AggregateError([coded("ECONNREFUSED"), coded("23505")]),
    new TypeError("x is not a function"),
    "57P01",
    undefined,
  ])("leaves %o", (error) => {
    expect(isStoreAway(error)).toBe(false);
  });
});
