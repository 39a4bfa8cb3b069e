import { execFile, execFileSync, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { promisify } from "node:util";
import type { Relay } from "@turnpike/relay";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { TestCertificate } from "../support/certificate.ts";
import { keep, startTestRelay } from "../support/relay.ts";

const run = promisify(execFile);
const certificate = new TestCertificate();
const PEER_PORT = 3480;
const NUMBERS = ["-n", "20", "-m", "2", "-l", "200"];
const USER = ["-u", "alice", "-w", "wonderland"];
const TO_PEER = ["-e", "127.0.0.1", "-r", String(PEER_PORT)];
const BETWEEN_CLIENTS = ["-y"];

beforeAll(() => {
  if (existsSync("/usr/bin/turnutils_uclient")) return;
  execFileSync("apt-get", ["install", "-y", "-o", "DPkg::Lock::Timeout=300", "coturn"], { stdio: "ignore" });
});

/** The tools know no other ports than those. */
async function startRelayOfTools(): Promise<Relay> {
  const relay = await startTestRelay({
    listen: ["udp:127.0.0.1:3478", "tcp:127.0.0.1:3478", "tls:127.0.0.1:5349", "dtls:127.0.0.1:5349"],
    tls: certificate,
    peers: { allow: ["127.0.0.0/8", "::1"] },
    natDiscovery: { addresses: ["127.0.0.1", "127.0.0.2"], ports: [3478, 3479] },
  });
  const peer = spawn("turnutils_peer", ["-L", "127.0.0.1", "-p", String(PEER_PORT)], { stdio: "ignore" });
  const ended = new Promise<void>((resolve) => peer.once("exit", () => resolve()));
  keep({
    async [Symbol.asyncDispose]() {
      peer.kill();
      await ended;
    },
  });
  return relay;
}

describe("turnutils_uclient", () => {
  test.each([
    ["UDP", [...TO_PEER], "3478"],
    ["TCP", ["-t", ...TO_PEER], "3478"],
    ["TLS", ["-t", "-S", ...TO_PEER], "5349"],
    ["DTLS", ["-S", ...TO_PEER], "5349"],
    ["TCP relay", ["-T", ...BETWEEN_CLIENTS], "3478"],
    ["TCP relay over TLS", ["-T", "-S", ...BETWEEN_CLIENTS], "5349"],
    ["mobility", ["-M", ...TO_PEER], "3478"],
    ["mobility over TCP", ["-M", "-t", ...TO_PEER], "3478"],
    ["rude clients", ["-B", ...TO_PEER], "3478"],
    ["rude clients over TCP", ["-B", "-t", ...TO_PEER], "3478"],
  ])("%s: all packets arrive, and nothing leaks", async (_what, options, port) => {
    const relay = await startRelayOfTools();
    const { stdout } = await run("turnutils_uclient", [...USER, ...NUMBERS, ...options, "-p", port, "127.0.0.1"]);
    expect(stdout).toContain("Total lost packets 0 (");
    expect(relay.stats().internalErrors).toBe(0);
    await vi.waitUntil(() => relay.stats().streams.peerConnections === 0);
  });
});

test("turnutils_stunclient learns both addresses of NAT discovery", async () => {
  await startRelayOfTools();
  const { stdout } = await run("turnutils_stunclient", ["127.0.0.1"]);
  expect(stdout).toMatch(/Other addr: : 127\.0\.0\.2:3479/);
  expect(stdout).toContain("UDP reflexive addr: 127.0.0.1:");
});

test.each(["-m", "-f"])("turnutils_natdiscovery %s finds no NAT on loopback", async (behaviour) => {
  await startRelayOfTools();
  const { stdout } = await run("turnutils_natdiscovery", [behaviour, "127.0.0.1"]);
  expect(stdout).toMatch(
    behaviour === "-m" ? /No NAT|Endpoint Independent Mapping/i : /Endpoint Independent Filtering/i,
  );
});
