import { describe, expect, it } from "vitest";
import { parseHtpasswd } from "./htpasswd-file.ts";

const BCRYPT = `$2y$10$${"a".repeat(53)}`;

describe("parseHtpasswd", () => {
  it("reads users, and past comments, blank lines, further fields, CRLF and a BOM", () => {
    const { users, errors } = parseHtpasswd(`\uFEFF# c\r\n\r\nann:${BCRYPT}\r\nbob:${BCRYPT}:more\n  \n`);
    expect(errors).toEqual([]);
    expect([...users]).toEqual([
      ["ann", { username: "ann", hash: BCRYPT, cost: 10 }],
      ["bob", { username: "bob", hash: BCRYPT, cost: 10 }],
    ]);
  });

  it.each([
    ["ann:$apr1$abc$def", /MD5 \(apr1\).*htpasswd -B/u],
    ["ann:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", /unsalted SHA-1.*htpasswd -B/u],
    ["ann:{SSHA}x", /SHA-1.*htpasswd -B/u],
    ["ann:$6$salt$x", /SHA-crypt.*htpasswd -B/u],
    ["ann:$5$salt$x", /SHA-crypt/u],
    ["ann:$1$salt$x", /MD5-crypt/u],
    ["ann:hunter2", /plain text or DES.*htpasswd -B/u],
    ["ann:", /plain text/u],
    [`ann:${BCRYPT.slice(1)}`, /plain text/u],
    [`ann:${BCRYPT}x`, /cut or damaged/u],
    [`ann:${BCRYPT.slice(0, -1)}`, /cut or damaged/u],
    [`ann:${BCRYPT.replace("$10$", "$31$")}`, /cost 31/u],
    [`ann:${BCRYPT.replace("$10$", "$00$")}`, /cost 0/u],
    ["ann", /"user:hash"/u],
    [`:${BCRYPT}`, /"user:hash"/u],
    [`bob:${BCRYPT}`, /second time/u],
  ])("says what is wrong with %s, without the hash", (line, message) => {
    const { users, errors } = parseHtpasswd(`bob:${BCRYPT}\n${line}\n`);
    expect([...users.keys()]).toEqual(["bob"]);
    expect(errors).toEqual([{ line: 2, message: expect.stringMatching(message) }]);
    expect(errors[0]?.message).not.toContain("hunter2");
  });
});
