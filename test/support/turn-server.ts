import { randomInt } from "node:crypto";
import { createSocket } from "node:dgram";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startChild, type Child } from "./child.ts";

/** What a test wants of a TURN server on loopback. */
export interface TurnServerOptions {
  readonly realm?: string;
  readonly users?: readonly { readonly name: string; readonly password: string }[];
  readonly sharedSecrets?: readonly string[];
  /** Addresses to listen on and to relay from. Default: 127.0.0.1 and ::1. */
  readonly addresses?: readonly string[];
  /** Ranges of peers that may be reached. Default: loopback of both families. Turnpike only. */
  readonly allowPeers?: readonly string[];
  readonly args?: readonly string[];
  /** How packets are forwarded. Default `batched`. Turnpike only. */
  readonly plane?: "batched" | "portable";
}

/** A TURN server on loopback, in a process of its own. */
export interface TurnServerProcess {
  readonly port: number;
  readonly child: Child;
  stop(): Promise<number | null>;
}

const LOOPBACK = ["127.0.0.1", "::1"];
const START_MS = 30_000;

/**
 * Starts `turnpike relay`; coturn's `turnserver` if the environment has TURNPIKE_TEST_SERVER=coturn, to tell a fault of
 * the relay from a fault of the test.
 */
export async function startTurnServer(options: TurnServerOptions): Promise<TurnServerProcess> {
  return process.env["TURNPIKE_TEST_SERVER"] === "coturn" ? startCoturn(options) : startTurnpike(options);
}

/** Starts `turnpike relay` on one free port of every address and waits until it is ready. */
export async function startTurnpike(options: TurnServerOptions): Promise<TurnServerProcess> {
  const addresses = options.addresses ?? LOOPBACK;
  const port = await freeUdpPort(addresses);
  const child = startChild({
    command: "turnpike",
    args: [
      "relay",
      "--log-format=json",
      "--log-level=debug",
      `--plane=${options.plane ?? "batched"}`,
      `--realm=${options.realm ?? "turnpike.test"}`,
      ...addresses.flatMap((address) => ["--listen", `udp:${hostOf(address)}:${port}`, "--relay-address", address]),
      ...(options.allowPeers ?? ["127.0.0.0/8", "::1"]).flatMap((range) => ["--allow-peer", range]),
      ...(options.users ?? []).flatMap(({ name, password }) => ["--user", `${name}:${password}`]),
      ...(options.sharedSecrets ?? []).flatMap((secret) => ["--shared-secret", secret]),
      ...(options.args ?? []),
    ],
  });
  await child.waitFor((it) => it.stderr().includes(`"msg":"The relay is serving"`), START_MS);
  const stop = async (): Promise<number | null> => {
    // The first signal waits for clients that went away without a word; the second doesn't.
    child.signal("SIGTERM");
    await child.waitFor((it) => it.stderr().includes("a second signal stops at once"), START_MS).catch(() => {});
    return child.stop();
  };
  return { port, child, stop };
}

/** Starts coturn on one free port of every address and waits until it answers. */
export async function startCoturn(options: TurnServerOptions): Promise<TurnServerProcess> {
  const addresses = options.addresses ?? LOOPBACK;
  const port = await freeUdpPort(addresses);
  const folder = mkdtempSync(join(tmpdir(), "turnpike-coturn-"));
  const secrets = options.sharedSecrets ?? [];
  const child = startChild({
    command: "turnserver",
    cwd: folder,
    args: [
      "-n",
      ...addresses.flatMap((address) => ["--listening-ip", address, "--relay-ip", address]),
      `--listening-port=${port}`,
      `--realm=${options.realm ?? "turnpike.test"}`,
      ...(secrets.length > 0 ? ["--use-auth-secret"] : ["--lt-cred-mech"]),
      ...secrets.map((secret) => `--static-auth-secret=${secret}`),
      ...(options.users ?? []).flatMap(({ name, password }) => ["--user", `${name}:${password}`]),
      "--allow-loopback-peers",
      "--no-tls",
      "--no-dtls",
      "--no-tcp",
      "--no-cli",
      "--no-rfc5780",
      "--log-file=stdout",
      "--simple-log",
      `--pidfile=${folder}/pid`,
      `--userdb=${folder}/db`,
    ],
  });
  await child.waitFor((it) => it.output().includes("(admin thread)"), START_MS);
  const stop = async (): Promise<number | null> => {
    const code = await child.stop();
    rmSync(folder, { recursive: true, force: true });
    return code;
  };
  return { port, child, stop };
}

/** Below the ports that systems give out by themselves and those of relayed addresses: nobody comes by one by chance. */
const [FIRST_PORT, LAST_PORT] = [12_000, 31_999];

/** A port that is free on all of `addresses` at this moment. */
export async function freeUdpPort(addresses: readonly string[]): Promise<number> {
  for (let attempt = 0; attempt < 50; attempt++) {
    const port = randomInt(FIRST_PORT, LAST_PORT + 1);
    const areFree = await Promise.all(addresses.map((address) => canBind(address, port)));
    if (areFree.every(Boolean)) return port;
  }
  throw new Error(`no UDP port is free on all of ${addresses.join(", ")}`);
}

function canBind(address: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createSocket(address.includes(":") ? { type: "udp6", ipv6Only: true } : { type: "udp4" });
    socket.once("error", () => resolve(false));
    socket.bind(port, address, () => socket.close(() => resolve(true)));
  });
}

function hostOf(address: string): string {
  return address.includes(":") ? `[${address}]` : address;
}
