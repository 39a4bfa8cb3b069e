import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { anyCharacter } from "../test/fakes.ts";
import { InvalidHintError } from "./hint-error.ts";
import { convertLegacyHint, isHintType, parseHint } from "./hint.ts";
import { formatHostPort, isDnsName, parseHostPort, parseHostPortPath } from "./host-port.ts";

const knows = (...types: string[]) => ({ hasHandler: (type: string) => types.includes(type) });

function errorOf(run: () => unknown): InvalidHintError {
  try {
    run();
  } catch (error) {
    if (error instanceof InvalidHintError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("the type is looked up first, and converted second", () => {
  it("finds a registered type", () => {
    expect(parseHint("tor:abc.onion:80", knows("tor"))).toEqual({
      text: "tor:abc.onion:80",
      type: "tor",
      rest: "abc.onion:80",
      legacy: false,
    });
  });

  it("refuses what has no handler and is not of the old form", () => {
    expect(errorOf(() => parseHint("fd:fd=1", knows("tcp")))).toMatchObject({ code: "unknown-type", offset: 0 });
  });

  it("converts host:port and finds tcp", () => {
    expect(parseHint("example.org:12345", knows("tcp"))).toEqual({
      text: "tcp:example.org:12345",
      type: "tcp",
      rest: "example.org:12345",
      legacy: true,
    });
  });

  it("refuses host:port when tcp has no handler", () => {
    expect(errorOf(() => parseHint("example.org:12345", knows("tor")))).toMatchObject({ code: "unknown-type" });
  });

  it("gives localhost:12345 to a handler of that name, and to tcp without one", () => {
    expect(parseHint("localhost:12345", knows("tcp", "localhost"))).toMatchObject({ type: "localhost", rest: "12345" });
    expect(parseHint("localhost:12345", knows("tcp"))).toMatchObject({ type: "tcp", rest: "localhost:12345" });
  });

  it("lets a handler have hints of two parts and digits", () => {
    expect(parseHint("fd:1", knows("tcp", "fd"))).toMatchObject({ type: "fd", legacy: false });
  });
});

describe("the old form", () => {
  const table: readonly (readonly [string, string | undefined])[] = [
    ["localhost:12345", "localhost:12345"],
    ["127.0.0.1:1", "127.0.0.1:1"],
    ["192.0.2.7:65535", "192.0.2.7:65535"],
    ["Example.ORG:80", "example.org:80"],
    ["a-b.example:80", "a-b.example:80"],
    ["tcp:localhost:80", undefined],
    ["tor:abc.onion:80", undefined],
    ["onion:80:controlPort=9052", undefined],
    ["fd:fd=1", undefined],
    ["host:0", undefined],
    ["host:65536", undefined],
    ["host:123456", undefined],
    ["host:080", undefined],
    ["host:", undefined],
    [":80", undefined],
    ["host", undefined],
    ["1.2.3:80", undefined],
    ["256.1.1.1:80", undefined],
    ["-a.example:80", undefined],
    ["a..b:80", undefined],
    ["under_score:80", undefined],
    ["[::1]:80", undefined],
  ];
  it.each(table)("%s → %s", (text, expected) => {
    expect(convertLegacyHint(text)).toBe(expected);
  });
});

describe("malformed hints say what is wrong where", () => {
  const table: readonly (readonly [string, string, number])[] = [
    ["", "empty", 0],
    ["tcp", "missing-colon", 3],
    ["tcp:a b:1", "bad-character", 5],
    ["tcp:a\nb:1", "bad-character", 5],
    ["tcp:a\u0000b:1", "bad-character", 5],
    ["tcp:\u{1f600}:1", "bad-character", 4],
    ["TCP:a:1", "malformed-type", 0],
    ["9p:a:1", "malformed-type", 0],
    [`${"a".repeat(40)}:x:1`, "malformed-type", 0],
    [`tcp:${"a".repeat(253)}`, "too-long", 256],
  ];
  it.each(table)("%j: %s at %i", (text, code, offset) => {
    expect(errorOf(() => parseHint(text, knows("tcp")))).toMatchObject({ code, offset });
  });

  const places: readonly (readonly [string, string, number])[] = [
    ["", "missing-port", 4],
    ["host", "missing-port", 8],
    ["host:", "missing-port", 9],
    ["host:x", "bad-port", 9],
    ["host:00", "bad-port", 9],
    ["host:99999", "bad-port", 9],
    [":80", "missing-host", 4],
    ["[::1", "bad-host", 8],
    ["[::1]", "missing-port", 9],
    ["[::1]80", "missing-port", 9],
    ["[fe80::1%eth0]:80", "bad-host", 5],
    ["[127.0.0.1]:80", "bad-host", 5],
    ["127.1:80", "bad-host", 4],
    ["2130706433:80", "bad-host", 4],
    ["0x7f000001:80", "bad-host", 4],
    ["0x7f.0.0.0x1:80", "bad-host", 4],
    ["01.2.3.4:80", "bad-host", 4],
    ["ex_ample:80", "bad-name", 4],
    ["host:80:socksProxy=attacker.example:1234", "trailing-text", 11],
    ["host:80,tcp:b:1", "trailing-text", 11],
    ["host:80/x", "trailing-text", 11],
  ];
  it.each(places)("tcp:%s: %s at %i", (rest, code, offset) => {
    expect(errorOf(() => parseHostPort(rest, { hint: `tcp:${rest}`, start: 4 }))).toMatchObject({ code, offset });
  });

  it("keeps paths of HTTP apart from the port", () => {
    const place = { hint: "", start: 0 };
    expect(parseHostPortPath("a.example:443", place)).toMatchObject({ host: "a.example", port: 443, path: "/" });
    expect(parseHostPortPath("[2001:DB8::1]:443/x?y=1", place)).toMatchObject({ host: "2001:db8::1", path: "/x?y=1" });
    expect(errorOf(() => parseHostPortPath("a.example:443?x", place))).toMatchObject({ code: "trailing-text" });
    expect(errorOf(() => parseHostPortPath("a.example:443/#x", place))).toMatchObject({ code: "bad-path", offset: 14 });
  });
});

describe("properties", () => {
  it("any string is either a hint or a typed error with an offset inside it", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: anyCharacter, maxLength: 400 }), hintLike()), (text) => {
        try {
          const hint = parseHint(text, knows("tcp", "tor", "localhost"));
          expect(hint.text).toBe(`${hint.type}:${hint.rest}`);
          expect(hint.text.length).toBeLessThanOrEqual(256 + 4);
          expect(parseHint(hint.text, knows("tcp", "tor", "localhost"))).toMatchObject({ text: hint.text });
        } catch (error) {
          if (!(error instanceof InvalidHintError)) throw error;
          expect(error.offset).toBeGreaterThanOrEqual(0);
          expect(error.offset).toBeLessThanOrEqual(text.length);
          expect(error.message).toMatch(/^[\u0020-\u007e…]*$/u);
          expect(error.message.length).toBeLessThan(600);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it("host and port are read back as written", () => {
    const host = fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain());
    fc.assert(
      fc.property(host, fc.integer({ min: 1, max: 65535 }), (name, port) => {
        fc.pre(name.length <= 253);
        const text = formatHostPort(name, port);
        const read = parseHostPort(text, { hint: text, start: 0 });
        expect(read).toMatchObject({ host: name.toLowerCase(), port });
      }),
    );
  });

  it("names follow the rule for labels", () => {
    const label = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/iu;
    fc.assert(
      fc.property(fc.array(fc.string({ unit: fc.constantFrom("a", "Z", "0", "-", "_"), maxLength: 4 })), (labels) => {
        const last = labels.at(-1) ?? "";
        const model = labels.length > 0 && labels.every((part) => label.test(part)) && !/^[0-9]*$/u.test(last);
        expect(isDnsName(labels.join("."))).toBe(model);
      }),
    );
  });

  it("types follow their grammar", () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 40 }), (type) => {
        expect(isHintType(type)).toBe(/^[a-z][a-z0-9+._-]{0,31}$/u.test(type));
      }),
    );
  });
});

it("refuses a megabyte without reading it, and prints 64 characters of it", () => {
  const hostile = [
    "a".repeat(1_000_000),
    "a.".repeat(500_000),
    ":".repeat(1_000_000),
    `${"1.".repeat(499_999)}1:1`,
    "\n".repeat(1_000_000),
  ];
  for (const text of hostile) {
    const error = errorOf(() => parseHint(text, knows("tcp")));
    expect(error).toMatchObject({ code: "too-long", offset: 256 });
    expect(error.message.length).toBeLessThan(500);
    expect(convertLegacyHint(text)).toBeUndefined();
  }
});

function hintLike(): fc.Arbitrary<string> {
  const piece = fc.constantFrom(
    "tcp",
    "tor",
    "localhost",
    ":",
    "[",
    "]",
    "::1",
    "127.0.0.1",
    "80",
    "a.b",
    "/",
    ",",
    "%",
    "é",
  );
  return fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join(""));
}
