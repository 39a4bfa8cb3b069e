import { describe, expect, it } from "vitest";
import { turnpike } from "../test/turnpike.ts";

describe("turnpike credentials", () => {
  it("mints what it verifies", async () => {
    const secret = ["--shared-secret", "north"];
    const minted = await turnpike(["credentials", "mint", ...secret, "--user", "alice", "--ttl", "60", "--json"]);
    expect(minted).toMatchObject({ code: 0, err: "" });
    const { username, credential, ttl, expiresAt } = JSON.parse(minted.out);
    expect({ username, ttl, expiresAt }).toEqual({
      username: "1800000060:alice",
      ttl: 60,
      expiresAt: "2027-01-15T08:01:00.000Z",
    });
    expect(await turnpike(["credentials", "verify", ...secret, username, credential])).toEqual({
      code: 0,
      out: `valid until 2027-01-15T08:01:00.000Z, for "alice"\n`,
      err: "",
    });
    const rotated = ["--shared-secret", "south", ...secret];
    expect(await turnpike(["credentials", "verify", ...rotated, username, credential])).toMatchObject({ code: 0 });
    expect(await turnpike(["credentials", "verify", "--shared-secret", "south", username, credential])).toEqual({
      code: 1,
      out: "",
      err: "turnpike: not valid: no shared secret makes this credential for this user name\n",
    });
    const late = { unixMs: 1_800_000_061_000 };
    expect(await turnpike(["credentials", "verify", ...secret, username, credential], late)).toMatchObject({
      code: 1,
      err: "turnpike: not valid: the credential has expired\n",
    });
  });

  it("takes secrets from a file and makes iceServers", async () => {
    const args = [
      "credentials",
      "mint",
      "--shared-secret-file",
      "/run/secret",
      "--url",
      "turn:relay.example",
      "--url",
      "stun:relay.example",
    ];
    const { code, out } = await turnpike(args, { files: { "/run/secret": "north\r\nsouth\n" } });
    expect(code).toBe(0);
    const line = out.split("\n").find((text) => text.startsWith("iceServers: ")) ?? "";
    expect(JSON.parse(line.slice("iceServers: ".length))).toEqual([
      { urls: ["stun:relay.example"] },
      { urls: ["turn:relay.example"], username: "1800086400", credential: expect.any(String) },
    ]);
  });

  it.each([
    [
      ["credentials", "mint"],
      "there is no shared secret: give --shared-secret or --shared-secret-file, or set turn.shared_secrets",
    ],
    [
      ["credentials", "mint", "--shared-secret", "x", "--url", "http://x"],
      "must begin with stun:, stuns:, turn: or turns:",
    ],
    [["credentials", "mint", "--shared-secret", "x", "--user", "a\u0000"], "Cannot format a time-limited name"],
    [
      ["credentials", "mint", "--shared-secret-file", "/nowhere"],
      "--shared-secret-file: turn.shared_secrets_file: /nowhere can't be read: no such file",
    ],
  ])("refuses %j with exit code 2", async (args, message) => {
    const { code, out, err } = await turnpike(args);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).toContain(message);
  });
});
