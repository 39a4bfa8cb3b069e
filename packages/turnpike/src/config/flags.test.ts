/** The names that people and other programs rely on: each flag, its key and its variable say the same. */
import { describe, expect, it } from "vitest";
import { createRevocationList } from "@turnpike/authn/turn";
import { createLogger } from "../log.ts";
import { authenticatorData, createAuthenticator } from "../wiring/authenticator.ts";
import { relayOptionsOf } from "../wiring/relay-options.ts";
import { writeToml } from "../coturn/write-toml.ts";
import { readCredentials } from "./credentials.ts";
import { formatSource, KEYS, loadConfiguration, type ConfigurationInput } from "./load.ts";
import { environmentVariable, keyName } from "./setting.ts";
import { valueAt } from "./tree.ts";

type Row = readonly [flag: `--${string}`, key: string, texts: readonly string[], value: unknown];

const SECRET = "0123456789abcdef";

/** Flags of a relay, whose options differ by each of them. */
const RELAY: readonly Row[] = [
  ["--listen", "relay.listen", ["udp:127.0.0.1:1", "tcp:[::1]:2"], ["udp:127.0.0.1:1", "tcp:[::1]:2"]],
  ["--realm", "relay.realm", ["example.org"], "example.org"],
  ["--relay-address", "relay.relay_addresses", ["192.0.2.1"], ["192.0.2.1"]],
  ["--external-address", "relay.external_addresses", ["198.51.100.1/192.0.2.1"], ["198.51.100.1/192.0.2.1"]],
  ["--min-port", "relay.port_range[0]", ["50000"], 50_000],
  ["--max-port", "relay.port_range[1]", ["50000"], 50_000],
  ["--max-lifetime", "relay.max_lifetime", ["1200"], 1200],
  ["--channel-lifetime", "relay.channel_lifetime", ["900"], 900],
  ["--nonce-lifetime", "relay.nonce_lifetime", ["300"], 300],
  ["--threads", "relay.threads", ["3"], 3],
  ["--plane", "relay.plane", ["portable"], "portable"],
  ["--coalesce-us", "relay.coalesce_us", ["50"], 50],
  ["--user", "turn.user", ["alice:wonderland"], [{ name: "alice", password: "wonderland" }]],
  ["--shared-secret", "turn.shared_secrets", [SECRET, `${SECRET}2`], [SECRET, `${SECRET}2`]],
  ["--shared-secret-file", "turn.shared_secrets_file", ["/secrets"], "/secrets"],
  ["--on-credential-expiry", "turn.on_credential_expiry", ["end"], "end"],
  ["--allow-peer", "peers.allow", ["10.0.0.0/8", "192.0.2.1-192.0.2.9"], ["10.0.0.0/8", "192.0.2.1-192.0.2.9"]],
  ["--deny-peer", "peers.deny", ["8.8.8.0/24"], ["8.8.8.0/24"]],
  ["--user-quota", "quota.user", ["3"], 3],
  ["--total-quota", "quota.total", ["300"], 300],
  ["--user-bandwidth", "quota.user_bandwidth", ["100000"], 100_000],
  ["--allocation-bandwidth", "quota.allocation_bandwidth", ["100000"], 100_000],
  ["--total-bandwidth", "quota.total_bandwidth", ["100000"], 100_000],
  ["--penalty-delay", "penalties.delay", ["growing"], "growing"],
  ["--ban-failures", "penalties.ban_failures", ["5"], 5],
  ["--log-event", "log.events", ["allocationCreated"], ["allocationCreated"]],
];

/** Flags whose use is seen by tests of whole commands. */
const OTHERS: readonly Row[] = [
  ["--cert", "tls.cert", ["cert.pem"], "cert.pem"],
  ["--key", "tls.key", ["key.pem"], "key.pem"],
  ["--interface", "relay.interface", ["eth0"], "eth0"],
  ["--kernel-mode", "relay.kernel_mode", ["tcx"], "tcx"],
  ["--schemes-external", "authn.schemes_external", ["access-token"], ["access-token"]],
  ["--external-auth-cache", "external_auth_cache.enabled", ["false"], false],
  ["--external-auth-cache-expiry", "external_auth_cache.expiry", ["0.5"], 0.5],
  ["--external-auth-cache-size", "external_auth_cache.size", ["10"], 10],
  ["--drain-timeout", "relay.drain_timeout", ["9"], 9],
  ["--discover-addresses", "relay.discover_addresses", ["gce_metadata"], "gce_metadata"],
  ["--portal", "portal.url", ["https://portal.example"], "https://portal.example"],
  ["--token", "portal.token", ["tr_x"], "tr_x"],
  ["--token-file", "portal.token_file", ["token"], "token"],
  ["--otlp-endpoint", "telemetry.otlp_endpoint", ["http://otlp.example:4317"], "http://otlp.example:4317"],
  ["--metrics", "telemetry.metrics", ["127.0.0.1:9000"], "127.0.0.1:9000"],
  ["--health", "telemetry.health", ["off"], "off"],
  ["--portal-listen", "portal.listen", ["127.0.0.1:9"], "127.0.0.1:9"],
  ["--store", "portal.store", ["postgres://db.example/x"], "postgres://db.example/x"],
  ["--data-dir", "portal.data_dir", ["/data"], "/data"],
  ["--fleet", "portal.fleet", ["redis://cache.example"], "redis://cache.example"],
  ["--public-url", "portal.public_url", ["https://portal.example"], "https://portal.example"],
  ["--log-level", "log.level", ["debug"], "debug"],
  ["--log-format", "log.format", ["json"], "json"],
  ["--control-socket", "control.socket", ["/run/turnpike.sock"], "/run/turnpike.sock"],
];

function load(input: Partial<ConfigurationInput>) {
  return loadConfiguration({ environment: {}, flags: new Map(), ...input });
}

/** The TOML that sets one key. */
function tomlOf(key: string, value: unknown): string {
  const [path = "", index] = key.split(/[[\]]/);
  const [table = "", name = ""] = path.split(".");
  const range = index === "0" ? [value, 65_535] : [49_152, value];
  return writeToml({ [table]: { [name]: index === undefined ? value : range } });
}

describe.each([...RELAY, ...OTHERS])("%s", (flag, name, texts, value) => {
  const key = KEYS.find((each) => keyName(each.path) === name);

  it(`is ${name}, and its variable, and each wins over the next`, () => {
    expect(key?.setting.flag).toBe(flag);
    const byFlag = { flags: new Map([[flag, texts]]) };
    const byVariable = { environment: { [environmentVariable(flag)]: texts.join("\n") } };
    const byFile = { file: { name: "turnpike.toml", text: tomlOf(name, value) } };
    for (const [input, source] of [
      [byFlag, flag],
      [byVariable, environmentVariable(flag)],
      [byFile, /^turnpike\.toml:/],
      [{ ...byFlag, ...byVariable, ...byFile }, flag],
      [{ ...byVariable, ...byFile }, environmentVariable(flag)],
    ] as const) {
      const loaded = load(input);
      expect(valueAt(loaded.configuration, key!.path)).toEqual(value);
      const found = loaded.values.find((each) => each.key === key);
      expect(formatSource(found!.source)).toMatch(source);
    }
  });
});

/** All that a relay is started by, as text. */
function startedBy(flags: ReadonlyMap<string, readonly string[]>): string {
  const loaded = load({ flags });
  const { configuration } = loaded;
  const credentials = readCredentials(loaded, { readFile: () => SECRET, reasonOf: String });
  const logger = createLogger({ level: "silent", format: "json", colors: false, write: () => {} });
  const data = authenticatorData({
    configuration,
    credentials,
    logger,
    stampSecrets: undefined,
    fleetSecrets: undefined,
    revocations: [],
  });
  const refuse = () => Promise.reject(new Error("nobody asks"));
  const answers = { webhook: refuse, jwt: refuse };
  const authenticator = createAuthenticator({ data, answers, revocations: createRevocationList(), logger });
  const {
    authenticate: _,
    logger: __,
    ...options
  } = relayOptionsOf({
    configuration,
    authenticator,
    authenticate: { module: "", data: () => undefined },
    logger,
  });
  return JSON.stringify({ data, options });
}

describe("a relay's flags", () => {
  it.each(RELAY)("%s changes what a relay is started by", (flag, _, texts) => {
    expect(startedBy(new Map([[flag, texts]]))).not.toBe(startedBy(new Map()));
  });
});

describe("all flags", () => {
  it("are of one key each, and no variable means two things", () => {
    const flags = KEYS.flatMap(({ setting }) => setting.flag ?? []);
    const variables = [...flags.map(environmentVariable), ...KEYS.flatMap(({ setting }) => setting.aliases ?? [])];
    expect(new Set(flags).size).toBe(flags.length);
    expect(new Set(variables).size).toBe(variables.length);
  });
});

describe("variables of other relays", () => {
  it.each<[environment: Record<string, string>, name: string, value: unknown]>([
    [
      { LISTEN_PORT: "3480" },
      "relay.listen",
      ["udp:0.0.0.0:3480", "udp:[::]:3480", "tcp:0.0.0.0:3480", "tcp:[::]:3480"],
    ],
    [{ LOWEST_PORT: "50000" }, "relay.port_range[0]", 50_000],
    [{ HIGHEST_PORT: "50000" }, "relay.port_range[1]", 50_000],
    [
      { PUBLIC_IP4_ADDR: "198.51.100.1", PUBLIC_IP6_ADDR: "2001:db8::1" },
      "relay.external_addresses",
      ["198.51.100.1", "2001:db8::1"],
    ],
    [{ PUBLIC_IP6_ADDR: "2001:db8::1", PUBLIC_IP4_ADDR: " " }, "relay.external_addresses", ["2001:db8::1"]],
    [{ LISTEN_ADDRESS_DISCOVERY_METHOD: "aws_ec2_metadata" }, "relay.discover_addresses", "aws_ec2_metadata"],
    [{ FIREZONE_API_URL: "wss://portal.example" }, "portal.url", "wss://portal.example"],
    [{ FIREZONE_NAME: "relay-1" }, "portal.name", "relay-1"],
    [{ LOWEST_PORT: "50000", TURNPIKE_MIN_PORT: "51000" }, "relay.port_range[0]", 51_000],
  ])("%j sets %s", (environment, name, value) => {
    const key = KEYS.find((each) => keyName(each.path) === name);
    expect(valueAt(load({ environment }).configuration, key!.path)).toEqual(value);
  });

  it.each<[environment: Record<string, string>, message: string]>([
    [{ LISTEN_PORT: "70000" }, "LISTEN_PORT: must be a port from 1 to 65535"],
    [{ LOWEST_PORT: "70000" }, "LOWEST_PORT: relay.port_range[0]: must be a port from 1 to 65535"],
    [{ HIGHEST_PORT: "many" }, "HIGHEST_PORT: relay.port_range[1]: must be a number, not text"],
    [
      { LISTEN_ADDRESS_DISCOVERY_METHOD: "guess" },
      "LISTEN_ADDRESS_DISCOVERY_METHOD: relay.discover_addresses: must be one of: gce_metadata, aws_ec2_metadata",
    ],
    [{ PUBLIC_IP4_ADDR: "here" }, "PUBLIC_IP4_ADDR: relay.external_addresses[0]: Cannot parse external address"],
  ])("%j is refused by its own name", (environment, message) => {
    expect(() => load({ environment })).toThrow(message);
  });
});
