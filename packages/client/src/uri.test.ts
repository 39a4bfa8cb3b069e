import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatUri, parseUri, UriError } from "./uri.ts";

describe("parseUri", () => {
  it.each([
    ["turn:example.org", { scheme: "turn", host: "example.org", port: undefined, transport: undefined }],
    ["turns:example.org", { scheme: "turns", host: "example.org" }],
    ["turn:example.org:8000", { port: 8000 }],
    ["turn:example.org?transport=udp", { transport: "udp" }],
    ["turn:example.org:8000?transport=tcp", { port: 8000, transport: "tcp" }],
    ["turns:example.org?transport=TCP", { transport: "tcp" }],
    ["turn:example.org?transport=ws", { transport: "ws" }],
    ["TURN:Example.ORG", { scheme: "turn", host: "example.org" }],
    ["turn:192.0.2.1:3478", { host: "192.0.2.1", ip: { family: 4 }, port: 3478 }],
    ["turn:[2001:DB8:0::1]:3478", { host: "2001:db8::1", ip: { family: 6 }, port: 3478 }],
    ["stun:[::1]", { scheme: "stun", host: "::1" }],
    ["stuns:example.org:5349", { scheme: "stuns", port: 5349 }],
    ["turn:localhost", { host: "localhost" }],
    ["turn:_x.example.org.", { host: "_x.example.org." }],
  ])("%s", (text, parts) => {
    expect(parseUri(text)).toMatchObject(parts);
  });

  it.each([
    ["", "unknownScheme", 0],
    ["example.org", "unknownScheme", 0],
    ["http://example.org", "unknownScheme", 0],
    [" turn:example.org", "unknownScheme", 0],
    ["turn://example.org", "hierarchical", 5],
    ["turn:user@example.org", "userInformation", 9],
    ["turn:", "badHost", 5],
    ["turn::3478", "badHost", 5],
    ["turn:?transport=udp", "badHost", 5],
    ["turn:exa mple.org", "badHost", 8],
    ["turn:exämple.org", "badHost", 7],
    ["turn:exam%70le.org", "badHost", 9],
    ["turn:example..org", "badHost", 13],
    ["turn:-example.org", "badHost", 5],
    [`turn:${"a".repeat(64)}.org`, "badHost", 5],
    [`turn:${"abcdefgh.".repeat(30)}org`, "badHost", 5],
    ["turn:1.2.3.256", "badHost", 5],
    ["turn:1.2.3", "badHost", 5],
    ["turn:[::1", "badHost", 5],
    ["turn:[192.0.2.1]", "badHost", 5],
    ["turn:[::1%eth0]", "badHost", 5],
    ["turn:[::1]3478", "trailing", 10],
    ["turn:2001:db8::1", "badHost", 5],
    ["turn:example.org:", "badPort", 17],
    ["turn:example.org:0", "badPort", 17],
    ["turn:example.org:65536", "badPort", 17],
    ["turn:example.org:+80", "badPort", 17],
    ["turn:example.org/", "badHost", 16],
    ["turn:example.org?", "badQuery", 17],
    ["turn:example.org?tls=1", "badQuery", 17],
    ["turn:example.org?transport=", "unknownTransport", 27],
    ["turn:example.org?transport=sctp", "unknownTransport", 27],
    ["turn:example.org?transport=udp&x=1", "unknownTransport", 27],
    ["stun:example.org?transport=udp", "transportNotAllowed", 16],
    [`turn:${"a".repeat(600)}`, "tooLong", 512],
  ])("refuses %s", (text, code, offset) => {
    let thrown: unknown;
    try {
      parseUri(text);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(UriError);
    expect(thrown).toMatchObject({ code, offset });
  });

  it("says what it expected", () => {
    expect(() => parseUri("turn:2001:db8::1")).toThrow(
      'Cannot parse URI "turn:2001:db8::1": an IPv6 address stands in brackets, and a name has no colon (at offset 5)',
    );
  });

  const label = fc.stringMatching(/^[a-z]([a-z0-9-]{0,8}[a-z0-9])?$/u);
  it("reads what formatUri writes", () => {
    const hosts = fc.oneof(
      fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join(".")),
      fc.ipV4(),
      fc.ipV6().map((ip) => `[${ip}]`),
    );
    const scheme = fc.constantFrom("turn", "turns", "stun", "stuns");
    fc.assert(
      fc.property(scheme, hosts, fc.option(fc.integer({ min: 1, max: 65_535 })), (name, host, port) => {
        const uri = parseUri(`${name}:${host}${port === null ? "" : `:${port}`}`);
        expect(parseUri(formatUri(uri))).toEqual(uri);
      }),
    );
  });

  it("throws nothing but UriError, whatever it gets", () => {
    const texts = fc.oneof(
      fc.string(),
      fc.string().map((text) => `turn:${text}`),
      fc.string({ unit: "binary" }),
    );
    fc.assert(
      fc.property(texts, (text) => {
        try {
          expect(parseUri(formatUri(parseUri(text)))).toEqual(parseUri(text));
        } catch (error) {
          expect(error).toBeInstanceOf(UriError);
          expect((error as UriError).offset).toBeLessThanOrEqual(text.length);
        }
      }),
    );
  });
});
