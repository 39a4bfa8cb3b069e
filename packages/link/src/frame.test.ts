import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeFrame, encodeFrame, type Frame, MAX_FRAME_LENGTH, serializerVersion } from "./frame.ts";

const name = fc.string({ minLength: 1, maxLength: 40 });
const frames: fc.Arbitrary<Frame> = fc.record(
  {
    joinRef: name,
    ref: name,
    topic: name,
    event: name,
    payload: fc.dictionary(fc.string(), fc.jsonValue(), { noNullPrototype: true }),
  },
  { requiredKeys: ["topic", "event", "payload"] },
);

describe("frames", () => {
  it.each(["1.0.0", "2.0.0"] as const)("serializer %s reads what it writes", (version) => {
    fc.assert(
      fc.property(frames, (frame) => {
        // JSON knows no -0 and drops what is undefined.
        const expected: unknown = JSON.parse(JSON.stringify(frame));
        expect(decodeFrame(version, encodeFrame(version, frame))).toEqual({ ok: true, frame: expected });
      }),
    );
  });

  it("writes what the original's relays write", () => {
    const frame = { ref: "0", topic: "relay", event: "phx_join", payload: { stamp_secret: "00" } };
    expect(JSON.parse(encodeFrame("1.0.0", frame))).toEqual({ ...frame, ref: 0 });
    expect(encodeFrame("2.0.0", { ...frame, joinRef: "0" })).toBe('["0","0","relay","phx_join",{"stamp_secret":"00"}]');
  });

  it("reads numbers as references, and their absence", () => {
    expect(decodeFrame("1.0.0", '{"topic":"relay","event":"init","payload":{},"ref":null}')).toEqual({
      ok: true,
      frame: { topic: "relay", event: "init", payload: {} },
    });
    expect(decodeFrame("2.0.0", '[null,7,"relay","init",null]')).toEqual({
      ok: true,
      frame: { ref: "7", topic: "relay", event: "init", payload: {} },
    });
  });

  it("says what is wrong with rubbish, and repeats nothing of it", () => {
    const rubbish = ["", "{", "null", "[]", "7", '"hunter2"', '{"topic":7}', '{"topic":"a","event":""}'];
    for (const text of [...rubbish, '{"topic":"a","event":"b","payload":"hunter2"}', '[1,2,"a","b"]']) {
      for (const version of ["1.0.0", "2.0.0"] as const) {
        const decoded = decodeFrame(version, text);
        expect(decoded.ok).toBe(false);
        expect(JSON.stringify(decoded)).not.toContain("hunter2");
      }
    }
    expect(decodeFrame("1.0.0", " ".repeat(MAX_FRAME_LENGTH + 1))).toMatchObject({ error: { code: "tooLong" } });
    expect(decodeFrame("1.0.0", '{"topic":"a","event":"b","payload":{},"ref":-1}').ok).toBe(false);
  });

  it("never throws", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        decodeFrame("1.0.0", text);
        decodeFrame("2.0.0", text);
      }),
    );
  });

  it("knows two serializers, the first by default", () => {
    expect([undefined, "1.0.0", "2.0.0", "3.0.0", ""].map(serializerVersion)).toEqual([
      "1.0.0",
      "1.0.0",
      "2.0.0",
      undefined,
      undefined,
    ]);
  });
});
