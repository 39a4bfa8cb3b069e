import { describe, expect, it } from "vitest";
import { turnpike } from "../test/turnpike.ts";

describe("turnpike", () => {
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
});
