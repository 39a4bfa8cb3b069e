import { describe, expect, it } from "vitest";
import { turnpike } from "../test/turnpike.ts";

describe("turnpike config", () => {
  it("checks a file", async () => {
    const files = { "good.toml": `[relay]\nrealm = "x"\n`, "bad.toml": `[relay]\nrelm = "x"\n` };
    expect(await turnpike(["config", "check", "good.toml"], { files })).toEqual({
      code: 0,
      out: "good.toml: no problems found\n",
      err: "",
    });
    expect(await turnpike(["config", "check", "bad.toml"], { files })).toEqual({
      code: 2,
      out: "",
      err: `turnpike: bad.toml:2:1: unknown key "relay.relm"; did you mean "realm"?\n`,
    });
    expect(await turnpike(["config", "check"])).toEqual({
      code: 2,
      out: "",
      err: "turnpike: turnpike.toml: can't be read: no such file\n",
    });
  });

  it("takes the file by --config and TURNPIKE_CONFIG too, but not twice", async () => {
    const files = { "good.toml": "" };
    for (const setup of [{ args: ["--config", "good.toml"] }, { environment: { TURNPIKE_CONFIG: "good.toml" } }]) {
      const { args = [], ...others } = { environment: {}, ...setup };
      const result = await turnpike(["config", "check", ...args], { files, ...others });
      expect(result).toEqual({ code: 0, out: "good.toml: no problems found\n", err: "" });
    }
    expect(await turnpike(["config", "check", "a.toml", "--config", "b.toml"], { files })).toEqual({
      code: 2,
      out: "",
      err: "turnpike: config check: name one file, as argument or by --config\n",
    });
  });

  it("warns of shared secrets that can be guessed, without repeating them", async () => {
    const long = "0123456789abcdef";
    const files = {
      "t.toml": `[turn]\nshared_secrets = ["${long}", "s3cret"]\nshared_secrets_file = "more"\n`,
      more: `${long}\nhunter2\n`,
    };
    const warned = (place: string): string =>
      `turnpike: t.toml:${place}: shorter than 16 bytes: who sees one credential can guess it; ` +
      "make one by: openssl rand -hex 32\n";
    expect(await turnpike(["config", "check", "t.toml"], { files })).toEqual({
      code: 0,
      out: "t.toml: no problems found\n",
      err:
        warned("2:39: warning: turn.shared_secrets[1]") + warned("3:23: warning: turn.shared_secrets_file: secret 2"),
    });
  });

  it("imports the configuration of coturn", async () => {
    const files = { "turnserver.conf": "realm=x\nprod\nstatic-auth-secret=north\n" };
    const toml =
      "# Imported from turnserver.conf\n\n[relay]\n" +
      'listen = ["udp:0.0.0.0:3478", "udp:[::]:3478", "tcp:0.0.0.0:3478", "tcp:[::]:3478"]\n' +
      'realm = "x"\n\n[turn]\nshared_secrets = ["north"]\n';
    const err =
      "turnserver.conf: note: peers that aren't globally routable are denied here unless peers.allow names them; " +
      "coturn permits what isn't denied\nturnserver.conf:2: note: prod: does nothing, with coturn either\n";
    const args = ["config", "import-coturn", "turnserver.conf"];
    expect(await turnpike(args, { files })).toEqual({ code: 0, out: toml, err });
    expect(await turnpike([...args, "--output", "new.toml"], { files })).toEqual({
      code: 0,
      out: "",
      err,
      written: { "new.toml": toml },
    });
    expect(await turnpike([...args, "--output", "turnserver.conf"], { files })).toMatchObject({
      code: 2,
      out: "",
      err: expect.stringContaining("turnserver.conf: can't be written: it is there already"),
    });
    expect(await turnpike(["config", "import-coturn", "nothing"], { files })).toMatchObject({
      code: 2,
      err: "turnpike: nothing: can't be read: no such file\n",
    });
  });

  it("checks that the files which hold secrets are there", async () => {
    const files = {
      "/etc/turnpike.toml": `[turn]\nshared_secrets_file = "secrets"\n[[turn.user]]\nname = "a"\npassword_file = "a"\n`,
      "/etc/a": "",
    };
    expect((await turnpike(["config", "check", "/etc/turnpike.toml"], { files })).err).toBe(
      "turnpike: /etc/turnpike.toml:5:17: turn.user[0].password_file: /etc/a is empty\n" +
        "turnpike: /etc/turnpike.toml:2:23: turn.shared_secrets_file: /etc/secrets can't be read: no such file\n",
    );
  });

  it("prints what is in force with its sources, secrets masked", async () => {
    const files = {
      "turnpike.toml": `[relay]\nrealm = "example.org"\n[[turn.user]]\nname = "alice"\npassword = "hunter2"\n`,
    };
    const environment = { TURNPIKE_SHARED_SECRET: "s3cret", TURNPIKE_MAX_PORT: "60000" };
    const { code, out } = await turnpike(["config", "print", "--deny-peer", "198.51.100.0/24"], { files, environment });
    expect(code).toBe(0);
    expect(out).toContain(`realm = "example.org"  # turnpike.toml:2:9\n`);
    expect(out).toContain(`port_range = [49152, 60000]  # default, TURNPIKE_MAX_PORT\n`);
    expect(out).toContain(`user = [{ name = "alice", password = "********" }]  # turnpike.toml:3:8\n`);
    expect(out).toContain(`shared_secrets = ["********"]  # TURNPIKE_SHARED_SECRET\n`);
    expect(out).toContain(`deny = ["198.51.100.0/24"]  # --deny-peer\n`);
    expect(out).toContain(`max_lifetime = 3600  # default\n`);
    expect(out).toContain(`# relay_addresses: found by autodetection\n`);
    expect(out).not.toMatch(/hunter2|s3cret/);
  });

  it("prints what it reads again", async () => {
    const { out } = await turnpike(["config", "print", "--realm", `a"b\\\u007f`, "--relay-address", "::1"]);
    expect(await turnpike(["config", "check", "printed.toml"], { files: { "printed.toml": out } })).toMatchObject({
      code: 0,
    });
  });
});
