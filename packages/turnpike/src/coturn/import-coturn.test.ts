import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { loadConfiguration } from "../config/load.ts";
import type { Configuration } from "../config/schema.ts";
import { importCoturn } from "./import-coturn.ts";
import { COTURN_KEYS } from "./keys.ts";
import { LISTENER_KEYS } from "./listeners.ts";
import { parseCoturn } from "./parse.ts";

function configurationOf(toml: string): Configuration {
  const file = { name: "imported.toml", text: toml };
  return loadConfiguration({ file, environment: {}, flags: new Map() }).configuration;
}

function translate(text: string) {
  const { toml, remarks } = importCoturn({ name: "turnserver.conf", text });
  return {
    toml,
    configuration: configurationOf(toml),
    remarks: remarks.filter(({ line }) => line > 0).map(({ level, line, message }) => `${line} ${level} ${message}`),
  };
}

const everywhere = (transport: string, port: number) => [`${transport}:0.0.0.0:${port}`, `${transport}:[::]:${port}`];

describe("parseCoturn", () => {
  it("takes keys and values as coturn does", () => {
    const text = '\uFEFF# comment\r\n  realm = a b \nfingerprint\nuser="alice:x y"\n\n\tmin-port\t1\ncert==x\nempty=\n';
    expect(parseCoturn(text)).toEqual([
      { key: "realm", value: "a b", line: 2 },
      { key: "fingerprint", value: "", line: 3 },
      { key: "user", value: "alice:x y", line: 4 },
      { key: "min-port", value: "1", line: 6 },
      { key: "cert", value: "x", line: 7 },
      { key: "empty", value: "", line: 8 },
    ]);
  });
});

describe("importCoturn", () => {
  it.each<[text: string, expected: object, remarks: readonly string[]]>([
    [
      "relay-ip=10.0.0.5\nexternal-ip=198.51.100.7/10.0.0.5",
      {
        relay: { relay_addresses: ["10.0.0.5"], external_addresses: ["198.51.100.7/10.0.0.5"] },
      },
      [],
    ],
    ["min-port=50000\nmax-port=50099", { relay: { port_range: [50_000, 50_099] } }, []],
    ["max-port=60000", { relay: { port_range: [49_152, 60_000] } }, []],
    [
      "max-port=70000",
      { relay: { port_range: [49_152, 65_535] } },
      ["1 warning left out: relay.port_range[1]: must be a port from 1 to 65535"],
    ],
    [
      "min-port=2000\nmax-port=1000",
      { relay: { port_range: [49_152, 65_535] } },
      ["1 warning left out: relay.port_range: the first port must not be above the last"],
    ],
    ["static-auth-secret=north\nstatic-auth-secret=south", { turn: { shared_secrets: ["north", "south"] } }, []],
    [
      "user=alice:a:b\nuser=bob:0x4afb4ee5bd2ce4c4efcb79a5a42ae8d5\nrealm=x",
      {
        turn: {
          user: [
            { name: "alice", password: "a:b" },
            { name: "bob", key: "4afb4ee5bd2ce4c4efcb79a5a42ae8d5" },
          ],
        },
      },
      [],
    ],
    [
      "user=hunter2",
      { turn: { user: [] } },
      ["1 warning user: left out: it is not of the form name:password or name:0xKEY"],
    ],
    [
      "user=bob:0x4afb4ee5bd2ce4c4efcb79a5a42ae8d5",
      {},
      ["1 warning user: a stored key is of a realm: set relay.realm to the one that it was made for"],
    ],
    [
      "realm=x\nuser=alice:a\nuser=alice:b",
      { turn: { user: [{ name: "alice", password: "a" }] } },
      ["3 warning left out: turn.user[1].name: names a user a second time"],
    ],
    [
      "user=alice:a\nstatic-auth-secret=s",
      { turn: { shared_secrets: ["s"], user: [{ name: "alice" }] } },
      ["1 warning user: coturn serves no static users beside a shared secret; here they are served"],
    ],
    [
      "use-auth-secret",
      {},
      [
        "1 note use-auth-secret: needs no setting: the shared secret alone enables time-limited credentials",
        "1 warning use-auth-secret: secrets of a database aren't imported: name one by turn.shared_secrets_file",
      ],
    ],
    [
      "denied-peer-ip=10.0.0.0-10.0.0.9\nallowed-peer-ip=::1\ndenied-peer-ip=nonsense",
      {
        peers: { deny: ["10.0.0.0-10.0.0.9"], allow: ["::1"] },
      },
      [expect.stringContaining("3 warning left out: peers.deny[1]:")],
    ],
    [
      "allow-loopback-peers",
      { peers: { allow: ["127.0.0.0/8", "::1"] } },
      [expect.stringContaining("1 warning allow-loopback-peers: clients can reach")],
    ],
    [
      "user-quota=12\ntotal-quota=0",
      { quota: { user: 12 } },
      ["2 note total-quota: 0 is no limit, as it is without the key"],
    ],
    [
      "max-bps=640\nbps-capacity=1000000",
      { quota: { allocation_bandwidth: 1000, total_bandwidth: 1_000_000 } },
      ["1 warning max-bps: 640 bytes per second is less than a packet: 1000 is set"],
    ],
    ["stale-nonce", { relay: { nonce_lifetime: 600 } }, []],
    ["stale-nonce=900", { relay: { nonce_lifetime: 900 } }, []],
    [
      "stale-nonce=0",
      { relay: { nonce_lifetime: 3600 } },
      [expect.stringContaining("1 warning stale-nonce: nonces that")],
    ],
    [
      "alternate-server=198.51.100.8\nalternate-server=[2001:db8::8]:5000",
      {
        redirect: { rule: [{ servers: ["198.51.100.8:3478", "[2001:db8::8]:5000"] }] },
      },
      [],
    ],
    ["permission-lifetime=600", {}, ["1 warning permission-lifetime: not imported: it is 300 seconds (RFC 8656 §9)"]],
    [
      "prometheus\nprometheus-port=9700\nprometheus-address=127.0.0.1",
      { telemetry: { metrics: "127.0.0.1:9700" } },
      [],
    ],
    [
      "prod\nno-loopback-peers\nno-tlsv1\ndh2066\nno-cli",
      {},
      [
        "1 note prod: does nothing, with coturn either",
        "2 note no-loopback-peers: does nothing, with coturn either",
        "3 note no-tlsv1: does nothing, with coturn either",
        "4 note dh2066: does nothing, with coturn either",
        "5 note no-cli: does nothing, with coturn either",
      ],
    ],
    ["relm=x\nrealm=y", { relay: { realm: "y" } }, ['1 warning unknown key "relm"; did you mean "realm"?']],
    ["realm=x\nrealm=y", { relay: { realm: "y" } }, ["1 warning realm: line 2 sets it again, which counts"]],
    ["realm=x;", { relay: { realm: "x;" } }, ['1 warning realm: the ";" at its end is taken as a part of the value']],
    ["no-auth=0\nsecure-stun=off", {}, []],
    ["mobility\nno-tcp-relay", { relay: { mobility: true, tcp_relay: false } }, []],
    [
      "listening-ip=192.0.2.1\nlistening-ip=2001:db8::1\nlistening-ip=192.0.2.2\nrfc5780\nlistening-port=3500",
      {
        relay: { nat_discovery: { addresses: ["192.0.2.1", "192.0.2.2"], ports: [3500, 3501] } },
      },
      [],
    ],
    ["rfc5780", {}, ["1 warning rfc5780: not imported: it needs two addresses of one family by listening-ip"]],
    [
      "no-rfc5780\nresponse-origin-only-with-rfc5780",
      {},
      [
        expect.stringContaining("1 note no-rfc5780: needs no setting"),
        expect.stringContaining("2 note response-origin-only-with-rfc5780: needs no setting"),
      ],
    ],
  ])("translates %j", (text, expected, remarks) => {
    const translated = translate(text);
    expect(translated.configuration).toMatchObject(expected);
    expect(translated.remarks).toEqual(remarks);
  });

  it.each<[text: string, listen: readonly string[], remarks: readonly string[]]>([
    ["", [...everywhere("udp", 3478), ...everywhere("tcp", 3478)], []],
    ["no-tcp\nlistening-port=4446", everywhere("udp", 4446), []],
    ["no-udp\nlistening-ip=192.0.2.1\nlistening-ip=2001:db8::1", ["tcp:192.0.2.1:3478", "tcp:[2001:db8::1]:3478"], []],
    [
      "no-tcp\ncert=c\npkey=k\nlistening-port=4446\ntls-listening-port=4445",
      [...everywhere("udp", 4446), ...everywhere("tls", 4445), ...everywhere("dtls", 4445)],
      [],
    ],
    [
      "cert=c\npkey=k\nno-dtls\nlistening-ip=192.0.2.1",
      ["udp:192.0.2.1:3478", "tcp:192.0.2.1:3478", "tls:192.0.2.1:5349"],
      [],
    ],
    [
      "cert=c\npkey=k\nlistening-ip=192.0.2.1\ntls-listening-port=3478",
      ["udp:192.0.2.1:3478", "tcp:192.0.2.1:3478"],
      ["4 warning tls-listening-port: DTLS needs a port of its own: it is left out"],
    ],
    [
      "cert=c\nlistening-ip=192.0.2.1",
      ["udp:192.0.2.1:3478", "tcp:192.0.2.1:3478"],
      ["1 warning cert: left out: cert and pkey are needed together; TLS and DTLS are not served"],
    ],
    [
      "cert=c\npkey=k\nno-tls\nno-dtls\nlistening-ip=192.0.2.1",
      ["udp:192.0.2.1:3478", "tcp:192.0.2.1:3478"],
      [
        "1 note cert: not needed, since no-tls and no-dtls are set",
        "2 note pkey: not needed, since no-tls and no-dtls are set",
      ],
    ],
    [
      "listening-port=99999\nlistening-ip=eth0\nlistening-ip=192.0.2.1\nno-tcp",
      ["udp:192.0.2.1:3478"],
      [
        "1 warning listening-port: left out: there is no such port; 3478 is used",
        "2 warning listening-ip: left out: it is not an IP address",
      ],
    ],
  ])("finds the listeners of %j", (text, listen, remarks) => {
    const translated = translate(text);
    expect(translated.configuration.relay.listen).toEqual(listen);
    expect(translated.remarks).toEqual(remarks);
  });

  it("says once that the peer policy is another", () => {
    const { remarks } = importCoturn({ name: "x", text: "realm=x" });
    expect(remarks).toEqual([
      { level: "note", line: 0, message: expect.stringContaining("denied here unless peers.allow names them") },
    ]);
  });

  it("never repeats a secret in what it says", () => {
    const text = "user=alice:hunter2;\nuser=\nstatic-auth-secret=hunter2;\ncli-password=hunter2\npkey-pwd=hunter2\n";
    const { remarks } = importCoturn({ name: "x", text: `cert=c\npkey=k\n${text}${text}user=bob:0xhunter2\n` });
    expect(remarks.length).toBeGreaterThan(5);
    expect(JSON.stringify(remarks)).not.toContain("hunter2");
  });

  it("makes of any text a configuration that is accepted, and never throws", () => {
    const name = fc.constantFrom(...COTURN_KEYS.keys(), ...LISTENER_KEYS, "unknown");
    const value = fc.oneof(
      fc.string({ unit: "binary", maxLength: 40 }),
      fc.integer().map(String),
      fc.ipV4(),
      fc.ipV6(),
      fc.tuple(fc.ipV4(), fc.ipV4()).map(([a, b]) => `${a}-${b}`),
      fc.tuple(fc.string({ maxLength: 5 }), fc.string({ maxLength: 70 })).map(([a, b]) => `${a}:${b}`),
      fc.constantFrom("", "0", "1", "3478", "yes", "no", "ipv6", "keep", "[::1]:3478"),
    );
    const line = fc.oneof(
      { weight: 4, arbitrary: fc.tuple(name, value).map(([key, text]) => `${key}=${text}`) },
      { weight: 1, arbitrary: fc.string({ unit: "binary" }) },
    );
    fc.assert(
      fc.property(fc.array(line, { maxLength: 30 }), (lines) => {
        const { toml, remarks } = importCoturn({ name: "turnserver.conf", text: lines.join("\n") });
        expect(() => configurationOf(toml)).not.toThrow();
        const count = parseCoturn(lines.join("\n")).length;
        // At most what the key says, what the schema says and what its neighbours say.
        expect(remarks.length).toBeLessThanOrEqual(4 * count + 2);
        for (const { message } of remarks) expect(message.length).toBeLessThan(400);
      }),
      { numRuns: 100 },
    );
  }, 60_000);

  it("takes time in proportion to the text", () => {
    for (const text of [" ".repeat(1e6), "=".repeat(1e6), `a${" =".repeat(5e5)}`, `realm=${"x".repeat(1e6)}`]) {
      expect(translate(text).configuration.relay.realm).toBe("turnpike");
    }
    const users = Array.from({ length: 2000 }, (_, index) => `user=u${index}:p\n`).join("");
    expect(translate(`${users}${users}`).configuration.turn.user).toHaveLength(2000);
  }, 60_000);
});
