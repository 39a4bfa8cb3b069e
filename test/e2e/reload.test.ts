/** What a running command takes over of a changed configuration, by SIGHUP and by itself. */
import { X509Certificate } from "node:crypto";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:tls";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mintTimeLimited } from "@turnpike/credentials";
import { parseTransportAddress, transportAddress } from "@turnpike/stun";
import { afterAll, describe, expect, it } from "vitest";
import { TestCertificate } from "../support/certificate.ts";
import { type Child, startChild } from "../support/child.ts";
import { keep } from "../support/relay.ts";
import { UdpPeer } from "../support/udp-peer.ts";
import { UdpTurnClient } from "../support/udp-turn-client.ts";

const folder = mkdtempSync(join(tmpdir(), "turnpike-reload-"));
afterAll(() => rmSync(folder, { recursive: true }));

const WAIT_MS = 60_000;
const RELOADED = "The configuration was reloaded";
const ALICE = { username: "alice", password: "wonderland" };
const BOB = { username: "bob", password: "builder" };
const PEER = transportAddress("127.0.0.1", 9);

/** A relay of the command whose configuration file the test rewrites. */
class Reloaded {
  readonly directory = mkdtempSync(join(folder, "relay-"));
  readonly file: string = join(this.directory, "relay.toml");
  child!: Child;

  async start(text: string, args: readonly string[] = []): Promise<this> {
    writeFileSync(this.file, text);
    this.child = startChild({
      command: "turnpike",
      args: [
        "relay",
        `--config=${this.file}`,
        "--relay-address=127.0.0.1",
        "--penalty-delay=none",
        "--drain-timeout=0",
        "--metrics=off",
        "--health=off",
        "--log-format=json",
        ...args,
      ],
      cwd: this.directory,
    });
    keep({
      [Symbol.asyncDispose]: async () => {
        this.child.signal("SIGKILL");
        await this.child.ended;
      },
    });
    await this.child.waitFor((it) => it.stderr().includes("The relay is serving"), WAIT_MS);
    return this;
  }

  /** As editors save: the new text takes the place of the old file at once. */
  write(text: string): void {
    writeFileSync(`${this.file}.new`, text);
    renameSync(`${this.file}.new`, this.file);
  }

  /** The line of the log that follows what `act` does. */
  async logged(message: string, act: () => void): Promise<Record<string, unknown>> {
    const count = (): number => this.lines(message).length;
    const before = count();
    act();
    await this.child.waitFor(() => count() > before, WAIT_MS);
    return this.lines(message)[before]!;
  }

  lines(message: string): Record<string, unknown>[] {
    return this.child
      .stderr()
      .split("\n")
      .filter((line) => line.includes(message) && line.endsWith("}"))
      .map((line) => JSON.parse(line));
  }

  /** Has a new text taken over; what was said of it. By the signal, unless the relay has looked at the file before. */
  async replace(text: string): Promise<Record<string, unknown>> {
    const heard = (): Record<string, unknown> | undefined =>
      this.lines(RELOADED)
        .slice(before)
        .find(({ changed, restart }) => restart !== undefined || (Array.isArray(changed) && changed.length > 0));
    const before = this.lines(RELOADED).length;
    this.write(text);
    this.child.signal("SIGHUP");
    await this.child.waitFor(() => heard() !== undefined, WAIT_MS);
    return heard()!;
  }

  async client(credentials: { readonly username: string; readonly password: string }): Promise<UdpTurnClient> {
    const server = parseTransportAddress(/"udp:([^"]+)"/.exec(this.child.stderr())?.[1] ?? "");
    return keep(await UdpTurnClient.open(server!, credentials));
  }

  async allocate(credentials: typeof ALICE): Promise<UdpTurnClient> {
    const client = await this.client(credentials);
    expect(await client.allocate()).toMatchObject({ family: 4 });
    return client;
  }
}

const user = ({ username, password }: typeof ALICE): string =>
  `[[turn.user]]\nname = "${username}"\npassword = "${password}"\n`;

describe.each(["portable", "batched"])("a relay on the %s plane", (plane) => {
  const head = `[relay]\nplane = "${plane}"\nlisten = ["udp:127.0.0.1:0"]\n`;
  const loopback = `[peers]\nallow = ["127.0.0.0/8"]\n`;

  it("takes users, quotas and rules for peers over by SIGHUP, and says what and what not", async () => {
    const relay = await new Reloaded().start(`${head}${loopback}${user(ALICE)}`);
    const alice = await relay.allocate(ALICE);
    expect(await alice.permit(PEER)).toBe("success");

    const text = `${head}realm = "other"\n[quota]\nuser = 1\n[log]\nlevel = "debug"\n${user(BOB)}`;
    expect(await relay.replace(text)).toMatchObject({
      level: "warn",
      changed: ["turn.user", "peers.allow", "quota.user", "log.level"],
      restart: ["relay.realm"],
    });

    // What lives goes on; what it may do from here on is what the new configuration says.
    expect(await alice.refresh(600)).toBe("success");
    expect(await alice.permit(PEER)).toBe(403);
    expect(await (await relay.client(ALICE)).allocate()).toBe(401);
    const bob = await relay.allocate(BOB);
    expect(bob.stun.realm).toBe("turnpike");
    expect(await bob.permit(PEER)).toBe(403);
    expect(await (await relay.client(BOB)).allocate()).toBe(486);
    await relay.child.waitFor(() => relay.lines("allocationCreated").length > 0, WAIT_MS);
    expect(relay.child.stderr()).not.toMatch(/wonderland|builder/);
    expect(await relay.child.stop()).toBe(0);
  });

  it("ends the channels and permissions of peers that new rules deny, and no others", async () => {
    const relay = await new Reloaded().start(`${head}${loopback}${user(ALICE)}`, ["--log-event=channelDeleted"]);
    const denied = keep(await UdpPeer.open("127.0.0.1"));
    const other = keep(await UdpPeer.open("127.0.0.2"));
    const alice = await relay.allocate(ALICE);
    for (const [channel, peer] of [
      [0x4001, denied],
      [0x4002, other],
    ] as const) {
      expect(await alice.bind(channel, peer.local)).toBe("success");
      alice.sendOn(channel, new Uint8Array([1]));
      await peer.receive();
    }
    await relay.logged("channelDeleted", () => {
      relay.write(`${head}[peers]\nallow = ["127.0.0.2"]\n${user(ALICE)}`);
      relay.child.signal("SIGHUP");
    });
    alice.sendOn(0x4001, new Uint8Array([2]));
    alice.sendTo(denied.local, new Uint8Array([3]));
    alice.sendOn(0x4002, new Uint8Array([4]));
    expect((await other.receive()).bytes).toEqual(Buffer.from([4]));
    expect(denied.unread).toBe(0);
    expect(await alice.bind(0x4001, denied.local)).toBe(403);
  });

  it("keeps what it has when the file is broken, and says where", async () => {
    const relay = await new Reloaded().start(`${head}${loopback}${user(ALICE)}`);
    relay.write(`${head}relm = "x"\n[quota]\nuser = 0\n${user(BOB)}`);
    const refused = "The configuration can't be reloaded: nothing has changed";
    expect(await relay.logged(refused, () => relay.child.signal("SIGHUP"))).toMatchObject({
      level: "error",
      problems: [
        `${relay.file}:4:1: unknown key "relay.relm"; did you mean "realm"?`,
        `${relay.file}:6:8: quota.user: must be at least 1`,
      ],
    });
    await relay.allocate(ALICE);
    expect(await (await relay.client(BOB)).allocate()).toBe(401);
    expect(await relay.replace(`${head}${loopback}${user(BOB)}`)).toMatchObject({
      level: "info",
      changed: ["turn.user"],
    });
    expect(await relay.logged(RELOADED, () => relay.child.signal("SIGHUP"))).toMatchObject({
      signal: "SIGHUP",
      changed: [],
    });
    await relay.allocate(BOB);
  });

  it("sees by itself that its file, or a file of secrets, was replaced", async () => {
    const relay = new Reloaded();
    const secrets = join(relay.directory, "secrets");
    const minted = async (secret: string): Promise<typeof ALICE> => {
      const { username, credential } = await mintTimeLimited({ secrets: [secret], user: "carol", ttlSeconds: 600 });
      return { username, password: credential };
    };
    const [north, south] = ["north-star-north-star", "south-star-south-star"];
    writeFileSync(secrets, `${north}\n`);
    await relay.start(`${head}${loopback}[turn]\nshared_secrets_file = "secrets"\n`);
    await relay.allocate(await minted(north));
    const ofSecrets = await relay.logged(RELOADED, () => writeFileSync(secrets, `${south}\n`));
    expect(ofSecrets).toMatchObject({ files: [secrets], changed: ["turn.shared_secrets"] });
    await relay.allocate(await minted(south));
    expect(await (await relay.client(await minted(north))).allocate()).toBe(401);

    const ofUsers = await relay.logged(RELOADED, () =>
      relay.write(`${head}${loopback}[turn]\nshared_secrets_file = "secrets"\n${user(BOB)}`),
    );
    expect(ofUsers).toMatchObject({ files: [relay.file], changed: ["turn.user"] });
    await relay.allocate(BOB);
    expect(relay.lines(RELOADED)).toHaveLength(2);
  });
});

describe("penalties", () => {
  it("hold as they were changed to", async () => {
    const head = `[relay]\nlisten = ["udp:127.0.0.1:0"]\n${user(ALICE)}`;
    const relay = await new Reloaded().start(head, ["--ban-window=3600"]);
    const wrong = { username: "alice", password: "looking-glass" };
    for (let guess = 0; guess < 3; guess++) expect(await (await relay.client(wrong)).allocate()).toBe(401);
    const said = await relay.replace(`${head}[penalties]\nban_failures = 1\n`);
    expect(said).toMatchObject({ changed: ["penalties.ban_failures"] });
    expect(said).not.toHaveProperty("restart");
    await relay.logged(
      "was banned",
      () =>
        void relay
          .client(wrong)
          .then((client) => client.allocateAnswer())
          .catch(() => {}),
    );
  });
});

describe("what challenges offer", () => {
  it("stays, and who needs it to be another is told so", async () => {
    const head = `[relay]\nlisten = ["udp:127.0.0.1:0"]\n`;
    const relay = await new Reloaded().start(`${head}${user(ALICE)}`);
    // A key of MD5 can't answer a challenge that offers SHA-256.
    const keyed = `[[turn.user]]\nname = "dora"\nkey = "${"0".repeat(32)}"\n`;
    expect(await relay.replace(`${head}${user(ALICE)}${keyed}`)).toMatchObject({
      changed: [],
      restart: expect.arrayContaining(["turn.user"]),
    });
  });
});

describe("the certificate", () => {
  const TLS = `[relay]\nlisten = ["tls:127.0.0.1:0"]\n`;
  const filesOf = ({ cert, key }: { readonly cert: string; readonly key: string }): string =>
    `[tls]\ncert = "${cert}"\nkey = "${key}"\n`;
  const fingerprintOf = (relay: Reloaded): Promise<string> =>
    new Promise((resolve, reject) => {
      const port = Number(/"tls:127\.0\.0\.1:(\d+)"/.exec(relay.child.stderr())?.[1]);
      const socket = connect({ host: "127.0.0.1", port, rejectUnauthorized: false }, () => {
        resolve(socket.getPeerX509Certificate()?.fingerprint256 ?? "");
        socket.destroy();
      }).on("error", reject);
    });
  const printOf = ({ pem }: TestCertificate): string => new X509Certificate(pem).fingerprint256;

  it("is read again by SIGHUP", async () => {
    await using certificate = new TestCertificate();
    const files = [`--cert=${certificate.cert}`, `--key=${certificate.key}`];
    const relay = await new Reloaded().start(`${TLS}${user(ALICE)}`, files);
    expect(await fingerprintOf(relay)).toBe(printOf(certificate));
    certificate.renew();
    await relay.logged("The certificate was replaced", () => relay.child.signal("SIGHUP"));
    expect(await fingerprintOf(relay)).toBe(printOf(certificate));
  });

  it("comes from other files when the configuration names others, unless they can't be used", async () => {
    await using first = new TestCertificate();
    await using second = new TestCertificate();
    const relay = await new Reloaded().start(`${TLS}${filesOf(first)}${user(ALICE)}`);
    expect(await fingerprintOf(relay)).toBe(printOf(first));
    expect(await relay.replace(`${TLS}${filesOf(second)}${user(ALICE)}`)).toMatchObject({
      level: "info",
      changed: ["tls.cert", "tls.key"],
    });
    expect(await fingerprintOf(relay)).toBe(printOf(second));

    // The key of another certificate: users stay as well.
    const refused = "The configuration can't be reloaded: nothing has changed";
    relay.write(`${TLS}${filesOf({ cert: first.cert, key: second.key })}${user(BOB)}`);
    const told = await relay.logged(refused, () => relay.child.signal("SIGHUP"));
    expect(String(told["problems"])).toContain(`Cannot use the certificate ${first.cert} with the key ${second.key}`);
    expect(await fingerprintOf(relay)).toBe(printOf(second));

    // The files that it came to are those that are watched.
    second.renew();
    await relay.child.waitFor(() => relay.lines("The certificate was replaced").length === 2, WAIT_MS);
    expect(await fingerprintOf(relay)).toBe(printOf(second));

    // Without one there would be nothing to serve by: it stays until the next start.
    expect(await relay.replace(`${TLS.replace("tls:", "tcp:")}${user(ALICE)}`)).toMatchObject({
      level: "warn",
      restart: ["relay.listen", "tls.cert", "tls.key"],
    });
    expect(await fingerprintOf(relay)).toBe(printOf(second));
  });
});

describe.each(["serve", "portal"])("turnpike %s", (command) => {
  it("reloads what it can, and refuses what is broken", async () => {
    const directory = mkdtempSync(join(folder, `${command}-`));
    const file = join(directory, "turnpike.toml");
    const write = (text: string): void => writeFileSync(file, text);
    const base = `[portal]\nlisten = "127.0.0.1:0"\ndata_dir = "${directory}"\n[log]\nformat = "json"\n`;
    const relay = `[relay]\nlisten = ["udp:127.0.0.1:0"]\nrelay_addresses = ["127.0.0.1"]\ndrain_timeout = 0\n`;
    write(`${base}${relay}`);
    const environment = command === "serve" ? { TURNPIKE_METRICS: "off", TURNPIKE_HEALTH: "off" } : {};
    const child = startChild({ command: "turnpike", args: [command], cwd: directory, environment });
    keep({
      async [Symbol.asyncDispose]() {
        child.signal("SIGKILL");
        await child.ended;
      },
    });
    await child.waitFor((it) => it.stdout().includes("The portal serves at"), WAIT_MS);
    write(`${base}level = "debug"\n${relay}`.replace("127.0.0.1:0", "127.0.0.1:1"));
    child.signal("SIGHUP");
    await child.waitFor((it) => it.stderr().includes("what needs a restart"), WAIT_MS);
    expect(child.stderr()).toContain('"changed":["log.level"]');
    expect(child.stderr()).toContain('"restart":["portal.listen"]');
    write(`${base}level = "loud"\n${relay}`);
    child.signal("SIGHUP");
    await child.waitFor((it) => it.stderr().includes("can't be reloaded"), WAIT_MS);
    expect(child.stderr()).toContain("turnpike.toml:6:9: log.level: must be one of: trace");
    expect(await child.stop()).toBe(0);
  });
});
