import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TorControl } from "@turnpike/hints";
import { allocatePort, nodeDialer } from "@turnpike/hints";

/** One process of the private network. */
interface Node {
  readonly name: string;
  readonly role: "authority" | "relay" | "exit" | "service" | "client";
  readonly directory: string;
  readonly orPort: number;
  readonly directoryPort: number;
  readonly controlPort: number;
  readonly socksPort: number;
  process: ChildProcess | undefined;
}

/** A private Tor network on loopback. */
export interface TorNetwork {
  /** Where everything of it is kept. */
  readonly directory: string;
  /** The lines that make another `tor` a member: to be given to a launched one. */
  readonly clientConfiguration: readonly string[];
  /** A client's ports. Its cookie is in its data directory; its control password is {@link controlPassword}. */
  readonly client: { readonly socksPort: number; readonly controlPort: number };
  /** A `tor` for onion services. */
  readonly service: { readonly controlPort: number };
  /** Ends the client or the service at once (SIGKILL), or starts it again. */
  kill(which: "client" | "service"): Promise<void>;
  start(which: "client" | "service"): Promise<void>;
  stop(): Promise<void>;
}

/** The password of the client's control port. */
export const controlPassword = 'correct "horse" \\ battery';

/** Seconds from now to the first consensus; the relays must have published by four seconds before it. */
const lead = 12;
/** Seconds between votes: long, so that nothing changes while a test runs. */
const interval = 300;

/** Starts a private network: an authority, two relays, an exit to `exitPort`, a client and a `tor` for services. */
export async function startTorNetwork(options: { readonly exitPort: number }): Promise<TorNetwork> {
  const directory = await mkdtemp(join(tmpdir(), "tornet-"));
  await writeFile(join(directory, "empty"), "");
  await writeFile(join(directory, "resolv.conf"), "nameserver 127.0.0.1\n");
  const nodes: Node[] = [];
  for (const name of ["authority0", "relay0", "relay1", "exit0", "service0", "client0"]) {
    const role = name.replace(/\d+$/u, "") as Node["role"];
    const node: Node = {
      name,
      role,
      directory: join(directory, name),
      orPort: await allocatePort(),
      directoryPort: await allocatePort(),
      controlPort: await allocatePort(),
      socksPort: await allocatePort(),
      process: undefined,
    };
    await mkdir(node.directory, { recursive: true, mode: 0o700 });
    nodes.push(node);
  }
  const find = (role: Node["role"]): Node => {
    const node = nodes.find((candidate) => candidate.role === role);
    if (node === undefined) throw new Error(`no ${role}`);
    return node;
  };
  const network = new PrivateNetwork({ directory, nodes, find });
  try {
    await network.begin(options.exitPort);
  } catch (error) {
    await network.stop();
    throw error;
  }
  return network;
}

class PrivateNetwork implements TorNetwork {
  readonly directory: string;
  readonly #nodes: readonly Node[];
  readonly #find: (role: Node["role"]) => Node;
  clientConfiguration: readonly string[] = [];

  constructor(options: {
    readonly directory: string;
    readonly nodes: readonly Node[];
    readonly find: (role: Node["role"]) => Node;
  }) {
    this.directory = options.directory;
    this.#nodes = options.nodes;
    this.#find = options.find;
  }

  get client(): { readonly socksPort: number; readonly controlPort: number } {
    return this.#find("client");
  }

  get service(): { readonly controlPort: number } {
    return this.#find("service");
  }

  async begin(exitPort: number): Promise<void> {
    const authority = this.#find("authority");
    const identity = await this.#makeAuthorityKeys(authority);
    const fingerprint = this.#fingerprint(authority);
    this.clientConfiguration = [
      "TestingTorNetwork 1",
      `DirAuthority ${authority.name} orport=${authority.orPort} no-v2 v3ident=${identity} 127.0.0.1:${authority.directoryPort} ${fingerprint}`,
      "UseDefaultFallbackDirs 0",
      "OutboundBindAddress 127.0.0.1",
      "AddressDisableIPv6 1",
      "ClientUseIPv6 0",
      "PathsNeededToBuildCircuits 0.67",
    ];
    const offset = (Math.floor(Date.now() / 1000) + lead) % interval;
    for (const node of this.#nodes) {
      await writeFile(join(node.directory, "torrc"), [...this.#torrc(node, { offset, exitPort }), ""].join("\n"));
    }
    const relays = this.#nodes.filter(({ role }) => role !== "service" && role !== "client");
    for (const node of relays) this.#spawn(node);
    const controls = await Promise.all(relays.map((node) => openControl(node)));
    await this.#waitForConsensus(authority, relays.length);
    // Relays that asked too early would wait long before they ask again.
    await Promise.all(controls.map((control) => control.command("SIGNAL RELOAD")));
    for (const control of controls) {
      await poll("a relay has no directory", async () => (await control.info("status/enough-dir-info")) === "1");
      control.close();
    }
    await this.start("service");
    await this.start("client");
  }

  async kill(which: "client" | "service"): Promise<void> {
    await end(this.#find(which), "SIGKILL");
  }

  async start(which: "client" | "service"): Promise<void> {
    const node = this.#find(which);
    this.#spawn(node);
    const control = await openControl(node);
    await poll(`${which} does not bootstrap`, async () =>
      (await control.info("status/bootstrap-phase")).includes("PROGRESS=100"),
    );
    control.close();
  }

  async stop(): Promise<void> {
    await Promise.all(this.#nodes.map((node) => end(node, "SIGTERM")));
    await rm(this.directory, { recursive: true, force: true });
  }

  #spawn(node: Node): void {
    const files = ["-f", join(node.directory, "torrc"), "--defaults-torrc", join(this.directory, "empty")];
    node.process = spawn("tor", [...files, "--quiet"], { stdio: "ignore" });
  }

  async #makeAuthorityKeys(node: Node): Promise<string> {
    const keys = join(node.directory, "keys");
    await mkdir(keys, { recursive: true, mode: 0o700 });
    const files = ["-i", "authority_identity_key", "-s", "authority_signing_key", "-c", "authority_certificate"];
    const { status, stderr } = spawnSync(
      "tor-gencert",
      ["--create-identity-key", "--passphrase-fd", "0", "-m", "12", "-a", `127.0.0.1:${node.directoryPort}`, ...files],
      { cwd: keys, input: "for tests only\n", encoding: "utf8" },
    );
    if (status !== 0) throw new Error(`tor-gencert failed: ${stderr}`);
    const certificate = await readFile(join(keys, "authority_certificate"), "latin1");
    const identity = /^fingerprint ([0-9A-F]{40})$/mu.exec(certificate)?.[1];
    if (identity === undefined) throw new Error("tor-gencert wrote no fingerprint");
    return identity;
  }

  #fingerprint(node: Node): string {
    const empty = join(this.directory, "empty");
    const zeros = "0".repeat(40);
    const { stdout, stderr } = spawnSync(
      "tor",
      [
        "-f",
        empty,
        "--defaults-torrc",
        empty,
        "--quiet",
        "--list-fingerprint",
        "--DataDirectory",
        node.directory,
        "--Nickname",
        node.name,
        "--ORPort",
        `127.0.0.1:${node.orPort}`,
        "--Address",
        "127.0.0.1",
        "--TestingTorNetwork",
        "1",
        "--DirAuthority",
        `x orport=1 no-v2 v3ident=${zeros} 127.0.0.1:1 ${zeros}`,
      ],
      { encoding: "utf8" },
    );
    const fingerprint = /^\S+ ((?:[0-9A-F]{4} ?){10})\s*$/mu.exec(stdout)?.[1]?.replaceAll(" ", "");
    if (fingerprint === undefined) throw new Error(`tor gave no fingerprint: ${stdout}${stderr}`);
    return fingerprint;
  }

  #torrc(node: Node, options: { readonly offset: number; readonly exitPort: number }): readonly string[] {
    const common = [
      ...this.clientConfiguration,
      `DataDirectory ${node.directory}`,
      `ControlPort 127.0.0.1:${node.controlPort}`,
      "CookieAuthentication 1",
      // The whole network ends when the test does, however it ends.
      `__OwningControllerProcess ${process.pid}`,
      "SafeLogging 0",
      `Log notice file ${join(node.directory, "tor.log")}`,
      "ShutdownWaitLength 1",
    ];
    switch (node.role) {
      case "client":
        return [
          ...common,
          `SocksPort 127.0.0.1:${node.socksPort} ExtendedErrors`,
          `HashedControlPassword ${hashPassword()}`,
        ];
      case "service":
        return [...common, "SocksPort 0"];
      case "relay":
        return [...common, ...this.#relay(node), "ExitRelay 0", "ExitPolicy reject *:*"];
      case "exit":
        return [
          ...common,
          ...this.#relay(node),
          "ExitRelay 1",
          "ExitPolicyRejectPrivate 0",
          "ExitPolicyRejectLocalInterfaces 0",
          "IPv6Exit 0",
          `ExitPolicy accept *:${options.exitPort}`,
          "ExitPolicy reject *:*",
        ];
      case "authority":
        return [
          ...common,
          ...this.#relay(node),
          "ExitRelay 0",
          "ExitPolicy reject *:*",
          "AuthoritativeDirectory 1",
          "V3AuthoritativeDirectory 1",
          `DirPort 127.0.0.1:${node.directoryPort}`,
          "TestingDirAuthVoteExit exit0",
          "TestingDirAuthVoteGuard *",
          "TestingDirAuthVoteHSDir *",
          "TestingMinExitFlagThreshold 0",
          `V3AuthVotingInterval ${interval}`,
          "V3AuthVoteDelay 2",
          "V3AuthDistDelay 2",
          `TestingV3AuthInitialVotingInterval ${interval}`,
          "TestingV3AuthInitialVoteDelay 2",
          "TestingV3AuthInitialDistDelay 2",
          `TestingV3AuthVotingStartOffset ${options.offset}`,
          "V3AuthNIntervalsValid 3",
        ];
    }
  }

  #relay(node: Node): readonly string[] {
    return [
      `Nickname ${node.name}`,
      "Address 127.0.0.1",
      `ORPort 127.0.0.1:${node.orPort} IPv4Only`,
      "SocksPort 0",
      // Without it the first consensus lists the authority alone.
      "AssumeReachable 1",
      "ServerDNSDetectHijacking 0",
      "ServerDNSTestAddresses",
      `ServerDNSResolvConfFile ${join(this.directory, "resolv.conf")}`,
      "ServerDNSAllowBrokenConfig 1",
      "ContactInfo test@localhost.invalid",
      "ExtraInfoStatistics 0",
      "NumCPUs 1",
    ];
  }

  async #waitForConsensus(authority: Node, relays: number): Promise<void> {
    const url = `http://127.0.0.1:${authority.directoryPort}/tor/status-vote/current/consensus-microdesc`;
    await poll("there is no consensus with all relays", async () => {
      const consensus = await fetch(url).then(
        (response) => (response.ok ? response.text() : ""),
        () => "",
      );
      const flags = consensus.split("\n").filter((line) => line.startsWith("s "));
      return flags.filter((line) => /Guard.*HSDir.*Running/u.test(line)).length === relays;
    });
  }
}

function hashPassword(): string {
  const { stdout } = spawnSync("tor", ["--quiet", "--hash-password", controlPassword], { encoding: "utf8" });
  return stdout.trim().split("\n").at(-1) ?? "";
}

async function openControl(node: Node): Promise<TorControl> {
  const { signal } = new AbortController();
  const target = { kind: "tcp", address: "127.0.0.1", port: node.controlPort } as const;
  let control: TorControl | undefined;
  await poll(`${node.name} opens no control port`, async () => {
    if (!existsSync(join(node.directory, "control_auth_cookie"))) return false;
    const stream = await nodeDialer.dial(target, { signal }).catch(() => undefined);
    if (stream === undefined) return false;
    control = new TorControl(stream);
    await control.authenticate({});
    return true;
  });
  if (control === undefined) throw new Error("unreachable");
  return control;
}

/** Asks every 50 ms, for up to 90 s. */
async function poll(problem: string, ask: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 90_000;
  while (!(await ask())) {
    if (Date.now() > end) throw new Error(problem);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function end(node: Node, signal: "SIGTERM" | "SIGKILL"): Promise<void> {
  const child = node.process;
  node.process = undefined;
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((resolve) => child.once("exit", resolve));
  child.kill(signal);
  const hard = setTimeout(() => child.kill("SIGKILL"), 8_000);
  await exited;
  clearTimeout(hard);
}
