import { format, inspect } from "node:util";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Secret } from "./secret.ts";

describe("Secret", () => {
  test("never prints, however it is printed", () => {
    fc.assert(
      fc.property(fc.string({ minLength: 4, unit: "grapheme" }), (value) => {
        fc.pre(!"[redacted] { password: '[redacted]' } Error: login with {\"password\":".includes(value));
        const secret = new Secret(value);
        const printed = [
          String(secret),
          `x${String(secret)}y`,
          "" + secret,
          JSON.stringify({ password: secret }),
          inspect({ password: secret }, { depth: 9, showHidden: true }),
          format("%s %o %O %j", secret, secret, secret, secret),
          new Error(`login with ${String(secret)}`).message,
          Object.keys(secret).join(),
          JSON.stringify(Object.entries(Object.assign({}, secret))),
        ];
        for (const text of printed) expect(text).not.toContain(value);
      }),
    );
  });

  test("gives text and bytes back", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (value) => {
        expect(new Secret(value).reveal()).toBe(value);
        expect(new Secret(new Secret(value).revealBytes()).reveal()).toBe(
          new TextDecoder().decode(new TextEncoder().encode(value)),
        );
      }),
    );
  });

  test("keeps its bytes when the caller wipes its own", () => {
    const bytes = Uint8Array.of(1, 2, 3);
    const secret = new Secret(bytes);
    bytes.fill(0);
    secret.revealBytes().fill(9);
    expect(secret.revealBytes()).toEqual(Uint8Array.of(1, 2, 3));
  });
});
