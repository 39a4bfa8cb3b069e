import { PassThrough, Readable } from "node:stream";
import { describe, expect, it } from "vitest";
import { run } from "./cli.ts";
import type { World } from "./world.ts";

interface Setup {
  readonly files?: Readonly<Record<string, string>>;
  readonly environment?: Readonly<Record<string, string>>;
  readonly unixMs?: number;
}

async function turnpike(args: readonly string[], setup: Setup = {}) {
  let out = "";
  let err = "";
  const world: World = {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    streams: () => ({ input: Readable.from([]), output: new PassThrough() }),
    isOutTerminal: false,
    isErrTerminal: false,
    environment: setup.environment ?? {},
    readFile: (path) => {
      const text = setup.files?.[path];
      if (text === undefined) throw Object.assign(new Error(`no such file: ${path}`), { code: "ENOENT" });
      return text;
    },
    unixMs: () => setup.unixMs ?? 1_800_000_000_000,
    random: (length) => new Uint8Array(length).fill(7),
    onStopSignal: () => () => {},
    exitNow: () => {},
    version: "1.2.3",
  };
  const code = await run(args, world);
  return { code, out, err };
}

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

  it("refuses a relay that would reveal the address, and names every key", async () => {
    const files = {
      "turnpike.toml": `
[relay]
external_addresses = ["203.0.113.7/10.0.0.5"]
[hints]
reveal_ip_address = false
[hints.tor]
socks = "8.8.8.8:9050"
`,
    };
    const { code, err } = await turnpike(["relay"], { files });
    expect(code).toBe(2);
    expect(err.match(/^turnpike: {3}(\S+ = \S+)/gmu)?.map((line) => line.slice("turnpike:   ".length))).toEqual([
      "hints.tcp = tcp:",
      "hints.tor.socks = 8.8.8.8:9050:",
      "relay.listen = 0.0.0.0:3478:",
      "relay.relay_addresses = found",
      "relay.external_addresses = 203.0.113.7:",
    ]);
    expect((await turnpike(["serve", "--hide-ip"])).code).toBe(2);
  });

  /** A configuration that reveals nothing, and one thing that does. */
  it.each([
    ["relay", {}, 'portal.url = "https://portal.example"', undefined],
    ["relay", {}, 'portal.url = "tor:8.8.8.8:80"', "would send the token in clear"],
    ["relay", {}, 'turn.webhook.url = "https://id.example/turn"', "turn.webhook.url = https://id.example:"],
    ["relay", {}, 'quota.store = "redis://user:hunter2@cache.example"', "quota.store = redis://cache.example:"],
    ["relay", {}, 'telemetry.otlp_endpoint = "http://collector.example:4317"', "telemetry.otlp_endpoint = http://"],
    ["relay", {}, 'telemetry.metrics = "0.0.0.0:9641"', "telemetry.metrics = 0.0.0.0:9641: listens on the network"],
    ["relay", {}, 'telemetry.health = "192.0.2.1:8081"', "telemetry.health = 192.0.2.1:8081: listens"],
    ["relay", { env: "OTLP_GRPC_ENDPOINT" }, "", "OTLP_GRPC_ENDPOINT = http://out.example: is contacted directly"],
    ["relay", { env: "OTEL_EXPORTER_OTLP_ENDPOINT" }, "", "OTEL_EXPORTER_OTLP_ENDPOINT = http://out.example:"],
    ["relay", { env: "OTEL_METADATA_DISCOVERY_METHOD" }, "", "OTEL_METADATA_DISCOVERY_METHOD = http://169.254"],
    ["portal", {}, 'portal.public_url = "https://portal.example"', "portal.public_url = https://portal.example: tells"],
    ["portal", {}, 'portal.store = "postgres://db.example/x"', "portal.store = postgres://db.example: is contacted"],
    ["portal", {}, 'portal.listen = "0.0.0.0:8080"', "portal.listen = 0.0.0.0:8080: listens on the network"],
    ["serve", {}, 'portal.fleet = "redis://cache.example"', "portal.fleet = redis://cache.example: is contacted"],
  ] as const)(
    "%s, its address hidden, refuses %j %s",
    async (command, options: { tcp?: string; env?: string }, line, message) => {
      const hidden = `
hints.reveal_ip_address = false
hints.tcp = "${options.tcp ?? "tor"}"
relay.listen = ["tcp:127.0.0.1:3478"]
relay.relay_addresses = ["127.0.0.1"]
${line}
`;
      const environment = options.env === undefined ? {} : { [options.env]: "out.example" };
      const { code, err } = await turnpike([command], { files: { "turnpike.toml": hidden }, environment });
      // Without a token a relay goes no further than to ask for one: the way to the portal was found good.
      expect({ code, err }).toEqual({ code: 2, err: expect.stringContaining(message ?? "--portal needs a token") });
      expect(err).not.toContain("hunter2");
      expect(err.split("\n").filter((text) => text.startsWith("turnpike:   "))).toHaveLength(
        message?.includes(" = ") ? 1 : 0,
      );
    },
  );

  it("reads [hints], by flag, variable and file, and masks its secrets", async () => {
    const files = {
      "turnpike.toml": `
[hints]
tcp = "tor"
advertise = "AUTO"
override = [{ target = "*.example.org", route = "disabled" }]
[hints.tor]
control = "127.0.0.1:9051"
password = "hunter2"
[hints.turn]
relay = "turns:relay.example"
username = "alice"
credential = "wonderland"
`,
    };
    const environment = { TURNPIKE_ADVERTISE: "tcp:a.example:1,wss:b.example:443/x", TURNPIKE_TOR_LAUNCH: "false" };
    const { code, out } = await turnpike(["config", "print", "--hide-ip"], { files, environment });
    expect(code).toBe(0);
    for (const line of [
      'tcp = "tor"  # turnpike.toml:3:7',
      'advertise = ["tcp:a.example:1", "wss:b.example:443/x"]  # TURNPIKE_ADVERTISE',
      "reveal_ip_address = false  # --hide-ip",
      "tor.launch = false  # TURNPIKE_TOR_LAUNCH",
      'tor.control = "127.0.0.1:9051"  # turnpike.toml:7:11',
      'turn.relay = "turns:relay.example"  # turnpike.toml:10:9',
    ]) {
      expect(out).toContain(line);
    }
    expect(out).not.toMatch(/hunter2|wonderland/u);
  });

  it.each([
    ['[hints]\nadvertise = "ALL"', 'turnpike.toml:2:13: hints.advertise: must be "AUTO" or a list of hints'],
    [
      '[hints]\nadvertise = ["tcp"]',
      'turnpike.toml:2:14: hints.advertise[0]: Cannot use hint "tcp": a colon must follow the type',
    ],
    ['[hints]\nallow = ["10.0.0.0/33"]', 'Cannot read address prefix "10.0.0.0/33"'],
    ['[hints.tor]\nsocks = "localhost"', '"localhost": write ADDRESS:PORT with a literal address'],
    ['[hints.tor]\nsocket = "127.0.0.1:1"', 'unknown key "hints.tor.socket"; did you mean "socks"?'],
    ['[hints.turn]\nrelay = "stun:relay.example"', "expected turn: or turns:"],
    ['[hints]\nreveal_ip_address = "no"', "must be true or false, not text"],
  ])("refuses %j in the file", async (text, message) => {
    const { code, err } = await turnpike(["config", "check"], { files: { "turnpike.toml": text } });
    expect(code).toBe(2);
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
