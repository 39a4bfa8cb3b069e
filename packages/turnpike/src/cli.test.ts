import { describe, expect, it } from "vitest";
import { turnpike } from "../test/turnpike.ts";

describe("turnpike", () => {
  it("prints its version", async () => {
    expect(await turnpike(["--version"])).toEqual({ code: 0, out: "1.2.3\n", err: "" });
  });

  it.each([
    [["--help"], "Usage: turnpike"],
    [["relay", "--help"], "Usage: turnpike relay"],
    [["serve", "--help"], "Usage: turnpike serve"],
    [["credentials", "--help"], "Usage: turnpike credentials"],
    [["credentials", "mint", "--help"], "Usage: turnpike credentials mint"],
    [["credentials", "verify", "--help"], "Usage: turnpike credentials verify"],
    [["check", "--help"], "Usage: turnpike check"],
    [["bench", "--help"], "Usage: turnpike bench"],
    [["connect", "--help"], "Usage: turnpike connect"],
    [["listen", "--help"], "Usage: turnpike listen"],
    [["config", "check", "--help"], "Usage: turnpike config check"],
    [["config", "print", "--help"], "Usage: turnpike config print"],
    [["config", "import-coturn", "--help"], "Usage: turnpike config import-coturn"],
  ])("explains %j", async (args, usage) => {
    const { code, out, err } = await turnpike(args);
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(out).toContain(usage);
  });

  it.each([
    [["relai"], "turnpike: unknown command 'relai'\n(Did you mean relay?)"],
    [["relay", "--relm", "x"], "turnpike: unknown option '--relm'\n(Did you mean --realm?)"],
    [["relay", "--realm"], "turnpike: option '--realm <NAME>' argument missing"],
    [["check"], "turnpike: missing required argument 'URI'"],
    [["check", "turn://x"], 'Cannot parse URI "turn://x": no "//" stands after the scheme: write turn:host'],
    [["check", "turn:x", "--peer", "y"], 'Cannot parse peer "y"'],
    [
      ["check", "turn:127.0.0.1:1", "--username", "a"],
      "--username and --credential (or --credential-file) go together",
    ],
    [["check", "turn:127.0.0.1:1", "--ca", "/nowhere"], "--ca: /nowhere can't be read: no such file"],
    [["check", "turns:127.0.0.1:1", "--ca", "key.pem"], "Cannot use ca: expected certificates as PEM"],
    [["check", "turns:127.0.0.1:1?transport=udp", "--ca", "key.pem"], "Cannot use ca: expected certificates as PEM"],
    [["check", "turns:127.0.0.1:1", "--pin", "abc"], 'Cannot use pin "abc": expected SHA-256 in Base64'],
    [["check", "turn:127.0.0.1:1", "--timeout", "0"], "Use a number above 0, up to 3600."],
    [["bench", "turns:127.0.0.1:1", "--ca", "key.pem"], "Cannot use ca: expected certificates as PEM"],
    [["bench", "stun:127.0.0.1:1"], "Cannot put load on a stun: URI: expected turn: or turns:"],
    [["bench", "turn:127.0.0.1:1", "--rate", "fast"], "Use a number."],
    [["bench", "turn:127.0.0.1:1", "--flows", "0"], "Cannot use flows 0: expected a whole number from 1 to 10000"],
    [["bench", "turn:127.0.0.1:1", "--transport", "sctp"], "Allowed choices are udp, tcp, tls, dtls, ws, wss."],
    [["relay", "extra"], "turnpike: too many arguments for 'relay'"],
    [["credentials", "mint", "--ttl", "soon"], "Use a whole number of seconds, at least 1."],
  ])("refuses %j with exit code 2", async (args, message) => {
    const files = { "key.pem": "-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n" };
    const { code, out, err } = await turnpike(args, { files });
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).toContain(message);
  });

  it("says which secret of authentication can't be used", async () => {
    const key = `[turn.oauth]\nserver_name = "a"\n[[turn.oauth.key]]\nkid = "k"\nkey = "c2hvcnQ="\n`;
    const webhook = `[turn.webhook]\nurl = "https://a.example"\ntoken_file = "t"\n`;
    const check = (text: string) => turnpike(["config", "check", "t.toml"], { files: { "t.toml": text } });
    expect(await check(key)).toEqual({
      code: 2,
      out: "",
      err: "turnpike: t.toml:5:7: turn.oauth.key[0].key: must be 32 bytes in base64, for A256GCM\n",
    });
    expect(await check(webhook)).toMatchObject({
      code: 2,
      err: "turnpike: t.toml:3:14: turn.webhook.token_file: t can't be read: no such file\n",
    });
  });

  it("serves nobody if its own user could not be one", async () => {
    expect(await turnpike(["serve", "--schemes-turn=webhook"])).toEqual({
      code: 2,
      out: "",
      err: 'turnpike: --schemes-turn: authn.schemes_turn: must list "portal", as which serve mints\n',
    });
  });

  it("shows help and exits with 2 when no command is given", async () => {
    const { code, err } = await turnpike([]);
    expect(code).toBe(2);
    expect(err).toContain("Usage: turnpike");
  });
});
