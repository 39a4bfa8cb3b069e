import { describe, expect, it } from "vitest";
import { ConfigurationError } from "../errors.ts";
import { formatSource, loadConfiguration, type ConfigurationInput } from "./load.ts";

function load(input: { toml?: string; environment?: Record<string, string>; flags?: Record<string, string[]> }) {
  return loadConfiguration({
    ...(input.toml === undefined ? {} : { file: { name: "turnpike.toml", text: input.toml } }),
    environment: input.environment ?? {},
    flags: new Map(Object.entries(input.flags ?? {})),
  } satisfies ConfigurationInput);
}

function complaints(input: Parameters<typeof load>[0]): string[] {
  try {
    load(input);
  } catch (error) {
    if (error instanceof ConfigurationError) return error.message.split("\n");
    throw error;
  }
  return [];
}

describe("loadConfiguration", () => {
  it("has defaults for everything", () => {
    const { configuration } = load({});
    expect(configuration.relay).toEqual({
      plane: "auto",
      coalesce_us: 0,
      realm: "turnpike",
      external_addresses: [],
      kernel_mode: "auto",
      port_range: [49_152, 65_535],
      max_lifetime: 3600,
      channel_lifetime: 600,
      mobility: true,
      strict_channels: false,
      trusted_proxies: [],
      nat_discovery: { ports: [3478, 3479] },
      nonce_lifetime: 600,
      drain_timeout: 3600,
    });
    expect(configuration.streams).toEqual({
      max_queue_bytes: 262_144,
      max_connections: 65_536,
      max_connections_per_prefix: 2048,
      handshake_timeout: 10,
      idle_timeout: 60,
      connect_timeout: 30,
      half_closed_timeout: 120,
    });
    expect(configuration.turn).toEqual({
      user: [],
      shared_secrets: [],
      on_credential_expiry: "keep",
      webhook: {},
      oauth: {},
    });
    expect(configuration.authn).toEqual({
      schemes_external: ["session-cookie", "access-token"],
      schemes_turn: ["portal", "static", "shared-secret", "oauth", "webhook"],
    });
    expect(configuration.penalties).toEqual({ delay: "constant", ban_failures: 100, ban_window: 600, ban_time: 600 });
    expect(configuration.log).toEqual({ level: "info", events: [] });
  });

  it("takes schemes, a webhook and OAuth keys from every layer, with fractions and switches", () => {
    const { configuration } = load({
      toml: `
[authn]
schemes_turn = ["webhook", "oauth"]
[turn.webhook]
url = "https://id.example.org/turn"
status_on_error = 401
[turn.oauth]
server_name = "relay.example.org"
[[turn.oauth.key]]
kid = "north"
key = "AAAA"
`,
      environment: { TURNPIKE_WEBHOOK_TIMEOUT: "0.5", TURNPIKE_WEBHOOK_RESOLVES_USERHASH: "true" },
      flags: { "--webhook-status-on-error": ["500"], "--penalty-delay": ["growing"] },
    });
    expect(configuration.authn.schemes_turn).toEqual(["webhook", "oauth"]);
    expect(configuration.turn.webhook).toEqual({
      url: "https://id.example.org/turn",
      timeout: 0.5,
      status_on_error: 500,
      resolves_userhash: true,
    });
    expect(configuration.turn.oauth).toEqual({
      server_name: "relay.example.org",
      key: [{ kid: "north", key: "AAAA", algorithm: "A256GCM" }],
    });
    expect(configuration.penalties.delay).toBe("growing");
  });

  it.each([
    [`[turn.webhook]\ntimeout = 2.5`, "2:11: turn.webhook.timeout: has no effect without turn.webhook.url"],
    [
      `[turn.webhook]\nurl = "https://a.example"\ntoken = "t"\ntoken_file = "f"`,
      "4:14: turn.webhook.token_file: give this or token, not both",
    ],
    [
      `[turn.webhook]\nurl = "ftp://a.example"`,
      "2:7: turn.webhook.url: must be an http: or https: URL without a user or password in it",
    ],
    [`[turn.webhook]\nurl = "https://a.example"\ntimeout = 0`, "3:11: turn.webhook.timeout: must be above 0"],
    [
      `[turn.webhook]\nurl = "https://a.example"\nstatus_on_error = 403`,
      "3:19: turn.webhook.status_on_error: must be one of: 401, 500",
    ],
    [
      `[turn.webhook]\nurl = "https://a.example"\nallow_plain_http = "yes"`,
      "3:20: turn.webhook.allow_plain_http: must be true or false, not text",
    ],
    [`[turn.oauth]\nserver_name = "a"`, "2:15: turn.oauth.server_name: needs at least one [[turn.oauth.key]]"],
    [
      `[turn.oauth]\nissuer = "https://a.example"`,
      "2:10: turn.oauth.issuer: has no effect without turn.oauth.server_name",
    ],
    [
      `[turn.oauth]\nserver_name = "a"\njwks = "https://a.example"\n[[turn.oauth.key]]\nkid = "k"\nkey = "AAAA"`,
      "3:8: turn.oauth.jwks: has no effect without turn.oauth.issuer",
    ],
    [
      `[turn.oauth]\nserver_name = "a"\n[[turn.oauth.key]]\nkid = "k"`,
      "3:1: turn.oauth.key[0]: needs exactly one of key, key_file",
    ],
    [
      `[authn]\nschemes_turn = ["static", "statik"]`,
      "2:27: authn.schemes_turn[1]: must be one of: portal, static, shared-secret, oauth, webhook",
    ],
    [
      `[[redirect.rule]]\nservers = ["relay.example.org:3478"]`,
      '2:12: redirect.rule[0].servers[0]: Cannot redirect to "relay.example.org:3478": expected ADDRESS:PORT, such as 192.0.2.1:3478',
    ],
    [
      `[quota]\nstore = "redis://127.0.0.1"\n[redirect]\nleast_loaded = true`,
      "4:16: redirect.least_loaded: needs redirect.advertise: where the others send clients for this relay",
    ],
    [
      `[redirect]\nleast_loaded = true\nadvertise = ["192.0.2.1:3478"]`,
      "2:16: redirect.least_loaded: needs quota.store: the relays of a fleet tell each other by it how full they are",
    ],
    [
      `[relay.nat_discovery]\naddresses = ["192.0.2.1"]`,
      "2:13: relay.nat_discovery.addresses: must be two addresses of this machine",
    ],
    [
      `[relay.nat_discovery]\naddresses = ["192.0.2.1", "192.0.2.1"]`,
      "2:13: relay.nat_discovery.addresses: names an address a second time",
    ],
    [
      `[relay.nat_discovery]\naddresses = ["192.0.2.1", "192.0.2.2"]\nports = [3478, 3478]`,
      "3:9: relay.nat_discovery.ports: the two ports must differ",
    ],
    [
      `[relay.nat_discovery]\nports = [3478, 3480]`,
      "2:9: relay.nat_discovery.ports: has no effect without relay.nat_discovery.addresses",
    ],
    [`[streams]\nconnect_timeout = 5`, "2:19: streams.connect_timeout: must be at least 30"],
    [`[authn]\nschemes_turn = ["static", "static"]`, "2:16: authn.schemes_turn: names a scheme a second time"],
    [
      `[authn]\nschemes_turn = ["webhook"]\n[turn]\nshared_secrets = ["s"]`,
      '4:18: turn.shared_secrets: has no effect, since authn.schemes_turn does not list "shared-secret"',
    ],
  ])("refuses what would do nothing or means nothing: %j", (toml, complaint) => {
    expect(complaints({ toml })).toEqual([`turnpike.toml:${complaint}`]);
  });

  it("lays flags over environment over file over defaults", () => {
    const toml = `[relay]\nrealm = "file"\nmax_lifetime = 1000\nchannel_lifetime = 700\nport_range = [50000, 50100]\n`;
    const environment = { TURNPIKE_REALM: "environment", TURNPIKE_MAX_LIFETIME: "2000", TURNPIKE_MAX_PORT: "50200" };
    const { configuration, values } = load({ toml, environment, flags: { "--realm": ["flag"] } });
    expect(configuration.relay).toMatchObject({
      realm: "flag",
      max_lifetime: 2000,
      channel_lifetime: 700,
      port_range: [50_000, 50_200],
    });
    const sources = Object.fromEntries(values.map(({ key, source }) => [key.setting.flag, formatSource(source)]));
    expect(sources).toMatchObject({
      "--realm": "--realm",
      "--max-lifetime": "TURNPIKE_MAX_LIFETIME",
      "--channel-lifetime": "turnpike.toml:4:20",
      "--min-port": "turnpike.toml:5:15",
      "--max-port": "TURNPIKE_MAX_PORT",
      "--log-level": "default",
    });
  });

  it("parses listeners, external addresses, users and secrets from every layer", () => {
    const { configuration } = load({
      toml: `
[relay]
listen = ["udp:127.0.0.1:0", "udp:[::1]:3479"]
[[turn.user]]
name = "alice"
key = "0123456789ABCDEF0123456789abcdef"
`,
      environment: {
        TURNPIKE_EXTERNAL_ADDRESS: "203.0.113.1/10.0.0.1, 203.0.113.2",
        TURNPIKE_SHARED_SECRET: "one, with a comma\ntwo\n",
      },
    });
    expect(configuration.relay.listen).toEqual(["udp:127.0.0.1:0", "udp:[::1]:3479"]);
    expect(configuration.relay.external_addresses).toEqual(["203.0.113.1/10.0.0.1", "203.0.113.2"]);
    expect(configuration.turn.user).toEqual([{ name: "alice", key: "0123456789abcdef0123456789abcdef" }]);
    expect(configuration.turn.shared_secrets).toEqual(["one, with a comma", "two"]);
    expect(load({ flags: { "--user": ["bob:a:b", `eve:0x${"0".repeat(64)}`] } }).configuration.turn.user).toEqual([
      { name: "bob", password: "a:b" },
      { name: "eve", key: "0".repeat(64) },
    ]);
  });

  it.each([
    ["an unknown key", `[relay]\nrelm = "x"\n`, `turnpike.toml:2:1: unknown key "relay.relm"; did you mean "realm"?`],
    [
      "a key in the wrong table",
      `realm = "x"\n`,
      `turnpike.toml:1:1: unknown key "realm"; did you mean "relay.realm"?`,
    ],
    [
      "a key with dashes",
      `[relay]\n  max-lifetime = 1\n`,
      `turnpike.toml:2:3: unknown key "relay.max-lifetime"; did you mean "max_lifetime"?`,
    ],
    ["an unknown table", `[relays]\nrealm = "x"\n`, `turnpike.toml:1:2: unknown key "relays"; did you mean "relay"?`],
    ["a dotted key", `log.levle = "info"\n`, `turnpike.toml:1:5: unknown key "log.levle"; did you mean "level"?`],
    [
      "a key that is like nothing",
      `[log]\nzzzzzzzz = 1\n`,
      `turnpike.toml:2:1: unknown key "log.zzzzzzzz"; known in log: level, format, events`,
    ],
    [
      "__proto__",
      `[log]\n__proto__ = { level = "info" }\n`,
      `turnpike.toml:2:1: unknown key "log.__proto__"; known in log: level, format, events`,
    ],
    [
      "a key of a user",
      `[[turn.user]]\nname = "a"\npasword = "x"\n`,
      `turnpike.toml:3:1: unknown key "turn.user[0].pasword"; did you mean "password"?`,
    ],
    ["a value of the wrong type", `[relay]\nrealm = 5\n`, `turnpike.toml:2:9: relay.realm: must be text, not a number`],
    ["a table that isn't one", `relay = 5\n`, `turnpike.toml:1:9: relay: must be a table, not a number`],
    [
      "a number out of range",
      `[relay]\nmax_lifetime = 0\n`,
      `turnpike.toml:2:16: relay.max_lifetime: must be at least 1`,
    ],
    ["a fraction", `[relay]\nmax_lifetime = 1.5\n`, `turnpike.toml:2:16: relay.max_lifetime: must be a whole number`],
    [
      "ports in the wrong order",
      `[relay]\nport_range = [60000, 50000]\n`,
      `turnpike.toml:2:14: relay.port_range: the first port must not be above the last`,
    ],
    [
      "a choice",
      `[log]\nlevel = "loud"\n`,
      `turnpike.toml:2:9: log.level: must be one of: trace, debug, info, warn, error, silent`,
    ],
    [
      "the second of a list",
      `[relay]\nlisten = [\n  "udp:0.0.0.0:1",\n  "sctp:0.0.0.0:1",\n]\n`,
      `turnpike.toml:4:3: relay.listen[1]: Cannot listen on "sctp:0.0.0.0:1": expected TRANSPORT:ADDRESS:PORT, with one of udp, tcp, tls, dtls, ws, wss, e.g. udp:0.0.0.0:3478 or udp:[::]:3478`,
    ],
    [
      "a user without a password",
      `[[turn.user]]\nname = "a"\n`,
      `turnpike.toml:1:1: turn.user[0]: needs exactly one of password, password_file and key`,
    ],
    [
      "a user twice",
      `[[turn.user]]\nname = "a"\npassword = "x"\n[[turn.user]]\nname = "a"\npassword = "y"\n`,
      `turnpike.toml:5:8: turn.user[1].name: names a user a second time`,
    ],
    ["what is not TOML", `[relay]\nrealm = \n`, `turnpike.toml:3:1: not TOML: Unspecified values are invalid`],
    [
      "a key twice",
      `[relay]\nrealm = "a"\nrealm = "b"\n`,
      `turnpike.toml:3:1: not TOML: Defining a key multiple times is invalid`,
    ],
  ])("refuses %s in the file", (_, toml, message) => {
    expect(complaints({ toml })).toContain(message);
  });

  it("reports every problem at once, once each", () => {
    const toml = `[relay]\nrelm = "x"\nmax_lifetime = 0\n[log]\nlevle = "info"\n`;
    expect(complaints({ toml })).toEqual([
      `turnpike.toml:2:1: unknown key "relay.relm"; did you mean "realm"?`,
      `turnpike.toml:5:1: unknown key "log.levle"; did you mean "level"?`,
      `turnpike.toml:3:16: relay.max_lifetime: must be at least 1`,
    ]);
  });

  it.each([
    ["--max-port", ["99999"], "--max-port: relay.port_range[1]: must be a port from 1 to 65535"],
    ["--max-port", ["many"], "--max-port: relay.port_range[1]: must be a number, not text"],
    ["--max-port", ["50"], "--max-port: relay.port_range: the first port must not be above the last"],
    ["--user", ["alice"], "--user: is not of the form NAME:PASSWORD or NAME:0xKEY"],
    ["--user", ["alice:0x12"], "--user: turn.user[0].key: must be 32 hexadecimal digits (MD5 key) or 64 (SHA-256 key)"],
    ["--relay-address", ["localhost"], `--relay-address: relay.relay_addresses[0]: "localhost" is not an IP address`],
    [
      "--listen",
      ["udp:localhost:1"],
      `--listen: relay.listen[0]: Cannot listen on "udp:localhost:1": expected udp:ADDRESS:PORT, e.g. udp:0.0.0.0:3478 or udp:[::]:3478`,
    ],
    [
      "--listen",
      ["udp:1.2.3.4:65536"],
      "--listen: relay.listen[0]: there is no port 65536: ports go from 0 (any free one) to 65535",
    ],
    [
      "--listen",
      ["3478"],
      `--listen: relay.listen[0]: Cannot listen on "3478": expected TRANSPORT:ADDRESS:PORT, with one of udp, tcp, tls, dtls, ws, wss, e.g. udp:0.0.0.0:3478 or udp:[::]:3478`,
    ],
    [
      "--external-address",
      ["1.2.3.4/::1"],
      `--external-address: relay.external_addresses[0]: Cannot use external address "1.2.3.4/::1": its halves are of different families`,
    ],
  ])("refuses %s %j", (flag, texts, message) => {
    expect(complaints({ flags: { [flag]: texts } })).toEqual([message]);
  });

  it.each([
    "10.0.0.0/33",
    "10.0.0.0/",
    "10.0.0/8",
    "10.0.0.9-10.0.0.1",
    "10.0.0.1-::1",
    "::/129",
    "",
    "10.0.0.0/8x",
    "1.2.3.4-",
  ])("stops for the malformed peer range %j", (range) => {
    expect(complaints({ flags: { "--deny-peer": [range] } })).toHaveLength(1);
    expect(complaints({ flags: { "--allow-peer": [range] } })).toHaveLength(1);
  });

  it("takes CIDR and A-B ranges of both families", () => {
    const ranges = ["10.0.0.0/8", "192.0.2.1", "192.0.2.1-192.0.2.9", "fc00::/7", "2001:db8::1-2001:db8::ff"];
    expect(load({ flags: { "--deny-peer": ranges } }).configuration.peers.deny).toEqual(ranges);
  });

  it("names unknown variables, but not those of container service links", () => {
    const environment = {
      TURNPIKE_RELM: "x",
      TURNPIKE_PORT: "tcp://10.0.0.1:3478",
      TURNPIKE_SERVICE_HOST: "10.0.0.1",
      TURNPIKE_PORT_3478_UDP_ADDR: "10.0.0.1",
      TURNPIKE_REALM: "",
    };
    expect(complaints({ environment })).toEqual([
      "TURNPIKE_RELM: unknown environment variable; did you mean TURNPIKE_REALM?",
    ]);
  });

  it("never repeats a secret in a message", () => {
    const secret = "hunter2hunter2";
    const messages = [
      ...complaints({ flags: { "--user": [secret] } }),
      ...complaints({ toml: `[[turn.user]]\nname = 5\npassword = "${secret}"\nkey = "${secret}"\n` }),
      ...complaints({ toml: `[turn]\nshared_secrets = "${secret}"\n` }),
    ];
    expect(messages.length).toBeGreaterThanOrEqual(3);
    expect(messages.join("\n")).not.toContain(secret);
  });
});
