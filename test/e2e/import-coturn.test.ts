/** Configurations of coturn as well-known projects have them: imported, checked, printed, and served to a client. */
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { loadConfiguration } from "turnpike";
import { TestCertificate } from "../support/certificate.ts";
import { ROOT, runChild, startChild } from "../support/child.ts";

const folder = mkdtempSync(join(tmpdir(), "turnpike-import-"));
afterAll(() => rmSync(folder, { recursive: true }));

const START_MS = 60_000;

function turnpike(args: readonly string[], environment: Readonly<Record<string, string>> = {}) {
  return runChild({ command: "turnpike", args, cwd: folder, environment, timeoutMs: START_MS });
}

describe("turnpike config import-coturn", () => {
  it.each<[name: string, transports: readonly string[], printed: readonly string[], warnings: readonly string[]]>([
    [
      "synapse",
      ["udp", "tcp", "tls", "dtls"],
      [
        'realm = "turn.matrix.example"',
        'external_addresses = ["198.51.100.44/10.0.0.1"]',
        'allow = ["10.0.0.1"]',
        "user = 12",
        "total = 1200",
      ],
      [],
    ],
    ["nextcloud-talk", ["udp", "tcp", "tls", "dtls"], ['realm = "cloud.example"', "nonce_lifetime = 600"], []],
    [
      "jitsi",
      ["udp", "tls", "dtls"],
      ['external_addresses = ["198.51.100.45"]', '"udp:0.0.0.0:4446"', '"tls:0.0.0.0:4445"'],
      ["cipher-list"],
    ],
    [
      "matrix-docker",
      ["udp", "tcp", "tls", "dtls"],
      ["port_range = [49152, 49172]", '"fc00::-fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"', "user = 12"],
      ["userdb"],
    ],
  ])("makes of the one of %s a relay that passes turnpike check", async (name, transports, printed, warnings) => {
    const source = `${ROOT}test/support/coturn/${name}.conf`;
    const file = join(folder, `${name}.toml`);
    const imported = await turnpike(["config", "import-coturn", source, "--output", file]);
    expect(imported).toMatchObject({ code: 0, stdout: "" });
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const warned = [...imported.stderr.matchAll(/:\d+: warning: ([\w-]+):/g)].map(([, key]) => key);
    expect(warned).toEqual(warnings);
    const [, secret = ""] = /static-auth-secret=(.*)/.exec(readFileSync(source, "utf8")) ?? [];
    expect(imported.stderr).not.toContain(secret);
    expect(await turnpike(["config", "check", file])).toMatchObject({
      code: 0,
      stdout: `${file}: no problems found\n`,
      stderr: "",
    });
    const { code, stdout } = await turnpike(["config", "print", "--config", file]);
    expect(code).toBe(0);
    for (const text of printed) expect(stdout).toContain(text);
    expect(stdout).not.toContain(secret);

    const { configuration } = loadConfiguration({
      file: { name: file, text: readFileSync(file, "utf8") },
      environment: {},
      flags: new Map(),
    });
    const listen = configuration.relay.listen ?? [];
    expect([...new Set(listen.map((spec) => spec.split(":")[0]))]).toEqual(transports);

    // Of the addresses and ports, this machine has but these.
    await using certificate = new TestCertificate();
    const here = [
      ...transports.map((transport) => `--listen=${transport}:127.0.0.1:0`),
      "--relay-address=127.0.0.1",
      "--external-address=127.0.0.1/127.0.0.1",
      "--allow-peer=127.0.0.0/8",
      `--cert=${certificate.cert}`,
      `--key=${certificate.key}`,
    ];
    const relay = startChild({
      command: "turnpike",
      args: ["relay", "--config", file, ...here, "--metrics=off", "--health=off", "--log-format=json"],
      cwd: folder,
    });
    try {
      await relay.waitFor((it) => it.stderr().includes("The relay is serving"), START_MS);
      const minted = await turnpike(["credentials", "mint", "--config", file, "--user=alice", "--json"]);
      const { username, credential } = JSON.parse(minted.stdout);
      const uris = Object.entries(URI_FORMS).flatMap(([transport, [scheme, parameter]]) => {
        const [, port] = new RegExp(`"${transport}:127\\.0\\.0\\.1:(\\d+)"`).exec(relay.stderr()) ?? [];
        return port === undefined ? [] : [`${scheme}:127.0.0.1:${port}?transport=${parameter}`];
      });
      expect(uris).toHaveLength(transports.length);
      const args = ["check", ...uris, `--username=${username}`, `--ca=${certificate.cert}`];
      const check = await turnpike(args, { TURNPIKE_CREDENTIAL: credential });
      expect(check.code, check.output).toBe(0);
    } finally {
      await relay.stop();
    }
  });
});

const URI_FORMS = {
  udp: ["turn", "udp"],
  tcp: ["turn", "tcp"],
  tls: ["turns", "tcp"],
  dtls: ["turns", "udp"],
} as const;
