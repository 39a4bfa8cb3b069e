import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { message } from "../test/arbitraries.ts";
import { encodeChannelData } from "./channel-data.ts";
import { MAXIMUM_STREAM_FRAME, type StreamFrameError, StreamFramer } from "./stream-framer.ts";

/** Everything that comes out, copied. */
function drain(framer: StreamFramer): (string | StreamFrameError)[] {
  const out: (string | StreamFrameError)[] = [];
  for (let frame = framer.next(); frame !== undefined; frame = framer.next()) {
    if (frame.kind === "error") return [...out, frame];
    const bytes = frame.buffer.subarray(frame.offset, frame.offset + frame.length);
    out.push(`${frame.kind} ${Buffer.from(bytes).toString("hex")}`);
  }
  return out;
}

function feed(framer: StreamFramer, chunks: Iterable<Uint8Array>): (string | StreamFrameError)[] {
  const out: (string | StreamFrameError)[] = [];
  for (const chunk of chunks) {
    // The framer must not look at a chunk again after it was drained.
    const lent = Uint8Array.from(chunk);
    framer.push(lent);
    out.push(...drain(framer));
    lent.fill(0xee);
    if (typeof out.at(-1) === "object") break;
  }
  return out;
}

function split(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const at = cuts.map((cut) => cut % (bytes.length + 1)).toSorted((a, b) => a - b);
  return [...at, bytes.length].map((end, index) => bytes.subarray(index === 0 ? 0 : at[index - 1], end));
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

const channelData = fc
  .tuple(fc.integer({ min: 0x4000, max: 0x7fff }), fc.uint8Array({ maxLength: 40 }))
  .map(([channel, data]) => ({
    wire: encodeChannelData(channel, data, { padded: true }),
    frame: `channelData ${Buffer.from(encodeChannelData(channel, data)).toString("hex")}`,
  }));
const stunMessage = message.map((wire) => ({ wire, frame: `stun ${Buffer.from(wire).toString("hex")}` }));
const cuts = fc.array(fc.nat(), { maxLength: 12 });

describe("StreamFramer", () => {
  test("gives the messages that were sent, however the stream is cut", () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(channelData, stunMessage), { maxLength: 8 }), cuts, (sent, cuts) => {
        const framer = new StreamFramer();
        const stream = concat(sent.map(({ wire }) => wire));
        expect(feed(framer, split(stream, cuts))).toEqual(sent.map(({ frame }) => frame));
        expect(framer.bufferedLength).toBe(0);
      }),
    );
  });

  test("gives the same for any bytes, errors included, whole or byte by byte", () => {
    const noise = fc.oneof(
      fc.uint8Array({ maxLength: 60 }),
      fc
        .tuple(message, fc.nat(), fc.nat(255))
        .map(([bytes, at, value]) => Uint8Array.from(bytes).fill(value, at % bytes.length, (at % bytes.length) + 1)),
    );
    fc.assert(
      fc.property(fc.array(noise, { maxLength: 4 }), cuts, (parts, cuts) => {
        const stream = concat(parts);
        const whole = feed(new StreamFramer(), [stream]);
        expect(feed(new StreamFramer(), split(stream, cuts))).toEqual(whole);
        expect(
          feed(
            new StreamFramer(),
            Array.from(stream, (byte) => Uint8Array.of(byte)),
          ),
        ).toEqual(whole);
      }),
    );
  });

  test("the buffer of a chunk may stand anywhere in a bigger one", () => {
    const wire = encodeChannelData(0x4000, Uint8Array.of(1, 2, 3), { padded: true });
    const around = new Uint8Array(40).fill(0xff);
    around.set(wire, 9);
    const framer = new StreamFramer();
    framer.push(around.subarray(9, 9 + wire.length));
    expect(drain(framer)).toEqual(["channelData 40000003010203"]);
  });

  test.each([0, 1, 2, 3, 4])("ChannelData of %i bytes isn't held back, not even for its padding", (length) => {
    const framer = new StreamFramer();
    const data = new Uint8Array(length).fill(7);
    const expected = Buffer.from(encodeChannelData(0x4001, data)).toString("hex");
    expect(feed(framer, [encodeChannelData(0x4001, data, { padded: true })])).toEqual([`channelData ${expected}`]);
    expect(feed(framer, [encodeChannelData(0x4001, data)])).toEqual([`channelData ${expected}`]);
    expect(feed(framer, [new Uint8Array((4 - (length % 4)) % 4), Uint8Array.of(0x40, 2, 0, 0)])).toEqual([
      "channelData 40020000",
    ]);
  });

  test("a stream of empty ChannelData is one message for every four bytes", () => {
    const stream = concat(Array.from({ length: 1000 }, () => Uint8Array.of(0x40, 0, 0, 0)));
    expect(feed(new StreamFramer(), [stream])).toHaveLength(1000);
  });

  test.each([0x80, 0xbf, 0xc0, 0xff])("a first byte of %i is garbage, for good", (byte) => {
    const framer = new StreamFramer();
    const good = encodeChannelData(0x4000, Uint8Array.of(1, 2, 3, 4));
    const error = { kind: "error", code: "garbage", offset: 8 };
    expect(feed(framer, [good, Uint8Array.of(byte, 0, 0, 0)]).at(-1)).toEqual(error);
    framer.push(good);
    expect(framer.next()).toEqual(error);
  });

  test("STUN without its cookie, or with a length that isn't a multiple of four, is an error before it is whole", () => {
    expect(feed(new StreamFramer(), [Uint8Array.of(0, 1, 0xff, 0xfc, 1, 2, 3, 4)])).toEqual([
      { kind: "error", code: "badCookie", offset: 4 },
    ]);
    expect(feed(new StreamFramer(), [Uint8Array.of(0, 1, 0, 3, 0x21, 0x12, 0xa4, 0x42)])).toEqual([
      { kind: "error", code: "lengthNotMultipleOf4", offset: 2 },
    ]);
  });

  test("refuses with the first byte that no message can have, not a byte later, and keeps no more than the header", () => {
    const prefix = fc.oneof(
      fc.uint8Array({ minLength: 1, maxLength: 8 }),
      // Almost right, so that each place is tried.
      fc
        .tuple(fc.nat(7), fc.nat(255))
        .map(([at, value]) => Uint8Array.of(0, 1, 0, 8, 0x21, 0x12, 0xa4, 0x42).fill(value, at, at + 1)),
    );
    const cookie = [0x21, 0x12, 0xa4, 0x42];
    /** How many of the bytes there must be to tell that they begin no message; undefined if they may. */
    const refusedAfter = (bytes: Uint8Array): number | undefined => {
      if (bytes[0]! >= 0x80) return 1;
      if (bytes[0]! >= 0x40) return undefined;
      if (bytes.length >= 4 && bytes[3]! % 4 !== 0) return 4;
      const wrong = bytes.findIndex((byte, index) => index >= 4 && byte !== cookie[index - 4]);
      return wrong < 0 ? undefined : wrong + 1;
    };
    fc.assert(
      fc.property(prefix, (bytes) => {
        const framer = new StreamFramer();
        const isRefused = Array.from(bytes, (byte) => {
          framer.push(Uint8Array.of(byte));
          const [out] = drain(framer);
          expect(framer.bufferedLength).toBeLessThanOrEqual(8);
          return typeof out === "object";
        });
        if (bytes[0]! >= 0x40 && bytes[0]! < 0x80) return;
        const first = isRefused.indexOf(true);
        expect(first < 0 ? undefined : first + 1).toBe(refusedAfter(bytes));
      }),
    );
  });

  test("pushing onto unread bytes is refused", () => {
    const framer = new StreamFramer();
    framer.push(new Uint8Array(8).fill(0x40));
    expect(() => framer.push(new Uint8Array(1))).toThrow("call next() until it returns undefined");
  });

  test("keeps at most one message, and memory only for what has arrived", () => {
    const framer = new StreamFramer();
    // Claims 65,532 bytes of attributes and sends only the header: a slow client must not cost 64 KiB.
    const header = Uint8Array.of(0, 1, 0xff, 0xfc, 0x21, 0x12, 0xa4, 0x42, ...new Uint8Array(12));
    expect(feed(framer, [header])).toEqual([]);
    expect(framer.bufferedLength).toBe(20);
    const rest = new Uint8Array(65_532);
    expect(feed(framer, [rest.subarray(1)])).toEqual([]);
    expect(framer.bufferedLength).toBe(MAXIMUM_STREAM_FRAME - 1);
    expect(feed(framer, [rest.subarray(0, 1)])).toHaveLength(1);
    expect(framer.bufferedLength).toBe(0);

    const before = process.memoryUsage().arrayBuffers;
    const framers = Array.from({ length: 1000 }, () => new StreamFramer());
    for (const each of framers) feed(each, [header]);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(framers.length * 1024);
  });
});

test("what is left behind the last message can be taken out, without its padding", () => {
  const framer = new StreamFramer();
  const message = encodeChannelData(0x4000, Uint8Array.of(1, 2));
  framer.push(Uint8Array.of(...message, 0, 0, 7, 8, 9));
  expect(framer.next()).toMatchObject({ kind: "channelData", length: 6 });
  expect([...framer.takeRest()]).toEqual([7, 8, 9]);
  framer.push(Uint8Array.of(0x40, 0));
  expect(framer.next()).toBeUndefined();
  expect([...framer.takeRest()]).toEqual([0x40, 0]);
  expect(framer.next()).toBeUndefined();
});
