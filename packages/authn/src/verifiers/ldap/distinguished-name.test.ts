import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { escapeDnValue, normalizeDn, parseDn } from "./distinguished-name.ts";

describe("distinguished names", () => {
  it("hold whatever a user name is in one value", () => {
    const hostile = fc.oneof(
      fc.string({ unit: "grapheme" }),
      fc.stringMatching(/^[ #"+,;<>\\=a0]{0,8}$/u),
      fc.constantFrom("x,ou=admins", "x\\", "x\\2c", "x+cn=y", " x ", "#04", "\0", "*)(uid=*"),
    );
    fc.assert(
      fc.property(hostile, (username) => {
        expect(parseDn(`uid=${escapeDnValue(username)},ou=people,dc=example`)).toEqual([
          [{ type: "uid", value: username }],
          [{ type: "ou", value: "people" }],
          [{ type: "dc", value: "example" }],
        ]);
      }),
      { numRuns: 1000 },
    );
  });

  it("reads the examples of RFC 4514 §4", () => {
    expect(parseDn("UID=jsmith,DC=example,DC=net")?.map((parts) => parts.length)).toEqual([1, 1, 1]);
    expect(parseDn("OU=Sales+CN=J.  Smith,DC=example,DC=net")?.[0]).toEqual([
      { type: "ou", value: "Sales" },
      { type: "cn", value: "J.  Smith" },
    ]);
    expect(parseDn('CN=James \\"Jim\\" Smith\\, III,DC=net')?.[0]?.[0]?.value).toBe('James "Jim" Smith, III');
    expect(parseDn("CN=Before\\0dAfter,DC=net")?.[0]?.[0]?.value).toBe("Before\rAfter");
    expect(parseDn("1.3.6.1.4.1.1466.0=#04024869")?.[0]?.[0]?.value).toBe("#04024869");
    expect(parseDn("CN=Lu\\C4\\8Di\\C4\\87")?.[0]?.[0]?.value).toBe("Lučić");
  });

  it("are equal in case, spaces and order of joined parts", () => {
    const forms = ["cn=Ops,ou=Groups,dc=example", "CN = ops , OU=groups,DC=EXAMPLE", "cn=\\4fps,ou=groups,dc=example"];
    expect(new Set(forms.map(normalizeDn)).size).toBe(1);
    expect(normalizeDn("a=1+b=2,c=3")).toBe(normalizeDn("B=2+A=1, C=3"));
    expect(normalizeDn("cn=a\\,b")).not.toBe(normalizeDn("cn=a,b=c"));
    expect(normalizeDn("cn=a\\,ou=b")).not.toBe(normalizeDn("cn=a,ou=b"));
  });

  it.each(["", "x", "=x", "cn=a,", "cn=a,b", 'cn="a"', "cn=a;ou=b", "cn=a\\", "c n=a"])(
    "doesn't take %j for one",
    (text) => {
      expect(parseDn(text)).toBeUndefined();
      expect(normalizeDn(text)).toBeUndefined();
    },
  );
});
