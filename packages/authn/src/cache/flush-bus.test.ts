import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeFlushMessage, encodeFlushMessage } from "./flush-bus.ts";

describe("flush messages", () => {
  it("come out as they went in, on one line", () => {
    const scope = fc.record(
      { provider: fc.string(), realm: fc.string(), username: fc.string({ unit: "binary", maxLength: 100 }) },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(scope, (fields) => {
        const line = encodeFlushMessage({ ...fields, origin: "here" });
        expect(line).not.toContain("\n");
        expect(decodeFlushMessage(line)).toEqual({ kind: "flush", message: { ...fields, origin: "here" } });
      }),
    );
  });

  it.each([
    ["", "notJson"],
    ["{", "notJson"],
    ["null", "badShape"],
    ["[]", "badShape"],
    ['{"provider":"ad"}', "badShape"],
    ['{"origin":7}', "badShape"],
    ['{"origin":"x","username":{"$ne":1}}', "badShape"],
    [`{"origin":"${"x".repeat(9000)}"}`, "tooLong"],
  ])("that are rubbish are an error value: %s", (line, code) => {
    expect(decodeFlushMessage(line)).toMatchObject({ kind: "error", code });
  });

  it("never carry more than names", () => {
    const more = { origin: "o", username: "ann", digest: "secret", salt: "secret" };
    const line = encodeFlushMessage(more);
    expect(JSON.parse(line)).toEqual({ origin: "o", username: "ann" });
    expect(decodeFlushMessage('{"origin":"o","digest":"x"}')).toEqual({ kind: "flush", message: { origin: "o" } });
  });
});
