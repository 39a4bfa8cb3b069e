/** The command as people start it: `turnpike` from the path, in processes of its own. */
import { createHash } from "node:crypto";
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseTransportAddress } from "@turnpike/stun";
import { afterAll, describe, expect, it } from "vitest";
import { ROOT, runChild, startChild, type Child, type ChildOptions } from "../support/child.ts";
import { UdpTurnClient } from "../support/udp-turn-client.ts";

const folder = mkdtempSync(join(tmpdir(), "turnpike-command-"));
afterAll(() => rmSync(folder, { recursive: true }));

const START_MS = 30_000;
const LISTEN = "--listen=udp:127.0.0.1:0";
const LOOPBACK = ["--relay-address=127.0.0.1", "--allow-peer=127.0.0.0/8"];

function turnpike(args: readonly string[], options: Partial<ChildOptions> = {}) {
  return runChild({ command: "turnpike", args, cwd: folder, timeoutMs: START_MS, ...options });
}

async function start(args: readonly string[]): Promise<Child> {
  const child = startChild({ command: "turnpike", args: [...args, "--log-format=json"], cwd: folder });
  await child.waitFor((it) => it.stderr().includes("The relay is serving"), START_MS);
  return child;
}

/** The first listening address of a relay, from its log. */
function listeningAt(child: Child): string {
  return /"udp:([^"]+)"/.exec(child.stderr())?.[1] ?? "";
}

async function openClient(address: string, credentials: { readonly username: string; readonly password: string }) {
  const server = parseTransportAddress(address);
  if (server === undefined) throw new Error(`not an address: ${address}`);
  return UdpTurnClient.open(server, credentials);
}

describe("turnpike", () => {
  it("keeps results and messages apart, and exits with 0, 1 or 2", async () => {
    expect(await turnpike(["--version"])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
      stderr: "",
    });
    expect(await turnpike(["--nonsense"])).toMatchObject({ code: 2, stdout: "" });
    const verify = ["credentials", "verify", "--shared-secret", "x", "1:a", "b"];
    expect(await turnpike(verify)).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining("not valid") });
  });

  it("says which Node it needs when an older one runs it", async () => {
    const older =
      "data:text/javascript,Object.defineProperty(process,'versions',{value:{...process.versions,node:'20.20.2'}})";
    const result = await runChild({
      command: "node",
      args: ["--import", older, `${ROOT}packages/turnpike/bin/turnpike.js`, "--version"],
      timeoutMs: START_MS,
    });
    expect(result).toMatchObject({ code: 1, stdout: "" });
    expect(result.stderr).toContain("needs Node 22.13 or newer, but this is Node 20.20.2");
  });

  it("keeps compiled modules in a cache directory of its own user, and does without one of somebody else", async () => {
    const own = mkdtempSync(join(folder, "cache-"));
    const environment = { CACHE_DIRECTORY: "", NODE_COMPILE_CACHE: "" };
    const isStarted = { code: 0, stderr: "" };
    expect(await turnpike(["--version"], { environment: { ...environment, XDG_CACHE_HOME: own } })).toMatchObject(
      isStarted,
    );
    const isRoot = process.getuid?.() === 0;
    if (process.platform !== "win32") expect(readdirSync(join(own, "turnpike", "compiled"))).toHaveLength(1);
    // Where only root can give a directory away, root's is somebody else's.
    const foreign = isRoot ? mkdtempSync(join(folder, "foreign-")) : "/";
    if (isRoot) chownSync(foreign, 65_534, 65_534);
    for (const cache of [foreign, join(folder, "missing")]) {
      const result = await turnpike(["--version"], { environment: { ...environment, XDG_CACHE_HOME: cache } });
      expect(result).toMatchObject(isStarted);
      expect(existsSync(join(cache, "turnpike"))).toBe(false);
    }
  });

  it("reads turnpike.toml of the working directory, and says what is wrong in it", async () => {
    const here = mkdtempSync(join(folder, "toml-"));
    writeFileSync(join(here, "turnpike.toml"), `[relay]\nrealm = "example.org"\n\n[peer]\ndeny = []\n`);
    const result = await turnpike(["relay", LISTEN], { cwd: here });
    expect(result).toMatchObject({
      code: 2,
      stdout: "",
      stderr: `turnpike: turnpike.toml:4:2: unknown key "peer"; did you mean "peers"?\n`,
    });
  });

  it("says what to do when the port is taken", async () => {
    const first = await start(["relay", LISTEN, ...LOOPBACK]);
    try {
      const [, port] = /"udp:127\.0\.0\.1:(\d+)"/.exec(first.stderr()) ?? [];
      const second = await turnpike(["relay", `--listen=udp:127.0.0.1:${port}`, ...LOOPBACK, "--log-level=silent"]);
      expect(second.code).toBe(1);
      expect(second.stderr).toContain("another program has this port");
    } finally {
      await first.stop();
    }
  });

  it("refuses settings that do not fit together", async () => {
    const args = ["relay", LISTEN, "--relay-address=127.0.0.1", "--external-address=203.0.113.1/192.0.2.77"];
    expect(await turnpike(args)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("192.0.2.77 is not a relay address"),
    });
  });
});

describe("turnpike relay", () => {
  it.each(["SIGTERM", "SIGINT"] as const)("stops on %s with exit code 0 when nobody uses it", async (signal) => {
    const child = await start(["relay", LISTEN, ...LOOPBACK]);
    child.signal(signal);
    expect(await child.ended).toBe(0);
    expect(child.stderr()).toContain("The relay has stopped");
  });

  describe("with a living allocation", () => {
    const alice = { username: "alice", password: "wonderland" };
    const startUsed = async () => {
      const child = await start(["relay", LISTEN, ...LOOPBACK, "--user=alice:wonderland"]);
      const client = await openClient(listeningAt(child), alice);
      expect(await client.allocate()).toMatchObject({ family: 4 });
      child.signal("SIGTERM");
      await child.waitFor((it) => it.stderr().includes("a second signal stops at once"), START_MS);
      return { child, client };
    };

    it("serves it until it ends, and takes no new ones", async () => {
      const { child, client } = await startUsed();
      await using other = await openClient(listeningAt(child), alice);
      expect(await other.allocate()).toBe(508);
      expect(await client.refresh(600)).toBe("success");
      expect(await client.refresh(0)).toBe("success");
      expect(await child.ended).toBe(0);
      await client.close();
    });

    it("stops at once on a second signal", async () => {
      const { child, client } = await startUsed();
      child.signal("SIGINT");
      expect(await child.ended).toBe(0);
      expect(child.stderr()).toContain("Stopping at once");
      await client.close();
    });
  });

  it("serves static users and shared secrets beside each other, from a file", async () => {
    const here = mkdtempSync(join(folder, "relay-"));
    writeFileSync(join(here, "secret"), "north\n");
    writeFileSync(
      join(here, "relay.toml"),
      `
[relay]
listen = ["udp:127.0.0.1:0"]
relay_addresses = ["127.0.0.1"]
realm = "example.org"
[turn]
shared_secrets_file = "secret"
[[turn.user]]
name = "alice"
# md5("alice:example.org:wonderland")
key = "${createHash("md5").update("alice:example.org:wonderland").digest("hex")}"
[peers]
allow = ["127.0.0.0/8"]
`,
    );
    const config = join(here, "relay.toml");
    const child = await start(["relay", "--config", config]);
    try {
      const minted = await turnpike(["credentials", "mint", "--config", config, "--user=bob", "--json"]);
      const { username, credential } = JSON.parse(minted.stdout);
      for (const credentials of [
        { username: "alice", password: "wonderland" },
        { username, password: credential },
      ]) {
        await using client = await openClient(listeningAt(child), credentials);
        expect(await client.allocate()).toMatchObject({ family: 4 });
      }
      await using mallory = await openClient(listeningAt(child), { username: "alice", password: "looking-glass" });
      expect(await mallory.allocate()).toBe(401);
    } finally {
      await child.stop();
    }
  });

  it("writes no secret into its log, whatever happens", async () => {
    const secrets = ["wonderland", "north-star"];
    const args = ["--user=alice:wonderland", "--shared-secret=north-star", "--log-level=trace"];
    const child = await start(["relay", LISTEN, ...LOOPBACK, ...args]);
    await using client = await openClient(listeningAt(child), { username: "alice", password: "wonderland" });
    await client.allocate();
    await client.refresh(0);
    await using mallory = await openClient(listeningAt(child), { username: "alice", password: "x" });
    await mallory.allocate();
    await child.stop();
    expect(child.stderr()).toContain("allocationCreated");
    for (const secret of secrets) expect(child.output()).not.toContain(secret);
  });
});
