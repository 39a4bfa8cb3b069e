// `npm run bench:allocations`: as many allocations at once as the port range has ports (16,384), over four reactors: the
// time to make and to end them, the relay's memory, and what is left afterwards, which must be nothing. Some thousands are
// made and ended before, so that what is measured is not what a program needs once.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Arena, loadLibc, SocketFactory, startBatchedRelay } from "@turnpike/relay";
import { attribute, decodeMessage, lifetime, requestedTransport, transportAddress } from "@turnpike/stun";
import { SeededRandom } from "../../test/sim/support/random.ts";
import { outcomeOf, StunClient, stunOf } from "../../test/sim/support/stun-client.ts";

const [role = "relay", port = "0", count = "16384"] = process.argv.slice(2);
const stages = ["warm", "quarter", "full", "ended"] as const;
type Stage = (typeof stages)[number];
const WARM = 4096;
const REST_MS = 1500;
const libc = loadLibc();
if ("unavailable" in libc) throw new Error(libc.unavailable);
const calls = libc;
if (role === "clients") await makeAll(Number(port), Number(count));
else await serve(Number(count));

async function serve(allocations: number): Promise<void> {
  const user = { username: "u", realm: "r", password: "p" };
  const relay = await startBatchedRelay({
    libc: calls,
    threads: 4,
    listen: ["udp:127.0.0.2:23490"],
    // An address of its own: the clients take thousands of ports of theirs.
    relayAddresses: ["127.0.0.2"],
    realm: user.realm,
    authenticate: { module: new URL("authenticate.ts", import.meta.url).href, data: () => user },
    // All clients have one address here: each needs a challenge of its own all the same.
    engine: { unauthenticatedBytesPerSecond: 1e9 },
  });
  const descriptors = readdirSync("/dev/fd").length;
  const server = relay.listening[0]?.local.port ?? 0;
  const self = fileURLToPath(import.meta.url);
  const words = [...process.execArgv, self, "clients", String(server), String(allocations)];
  const clients = spawn(process.execPath, words, { stdio: ["pipe", "pipe", "inherit"] });
  const cold = process.memoryUsage().rss;
  let most = 0;
  let peak = 0;
  const watch = setInterval(() => {
    most = Math.max(most, relay.stats().allocations);
    peak = Math.max(peak, process.memoryUsage().rss);
  }, 20);
  const gone = once(clients, "close");
  const resident: Partial<Record<Stage, number>> = {};
  const said: string[] = [];
  // The clients wait at each stage until its memory is known.
  for await (const line of createInterface({ input: clients.stdout })) {
    const stage = stages.find((each) => each === line);
    if (stage === undefined) {
      said.push(line);
      continue;
    }
    resident[stage] = await residentAtRest();
    clients.stdin.write(".");
  }
  clearInterval(watch);
  clients.stdin.destroy();
  const [code] = await gone;
  if (code !== 0) throw new Error("The clients failed");
  const { allocations: left, relaySockets, portsInUse } = relay.stats();
  const { warm = 0, quarter = 0, full = 0, ended = 0 } = resident;
  const [part, whole] = [allocations >> 2, allocations];
  const slope = (full - quarter) / (whole - part);
  console.log(said.join("\n"));
  console.log(`relay: ${most} allocations at once`);
  console.log(`RSS:   ${mib(cold)} MiB at the start, ${mib(warm)} after ${WARM} allocations were made and ended`);
  console.log(`       ${mib(quarter)} with ${part}, ${mib(full)} with ${whole}, ${mib(ended)} after they were ended`);
  console.log(
    `       ${mib(peak)} at most, ${REST_MS / 1000} s of rest and a trim of the C heap before each of the others`,
  );
  console.log(`each:  ${Math.round(slope)} bytes by the slope from ${part} to ${whole}`);
  console.log(`       ${Math.round((full - warm) / whole)} bytes by the whole, from the warm relay to ${whole}`);
  console.log(`       ${Math.round((full - cold) / whole)} bytes by the whole, from the start`);
  const leaked = readdirSync("/dev/fd").length - descriptors;
  console.log(`left:  ${left} allocations, ${relaySockets} sockets, ${portsInUse} ports, ${leaked} descriptors`);
  await relay.stop();
  if (left + relaySockets + portsInUse + leaked !== 0) process.exitCode = 1;
}

/** Resident bytes of this process once it has come to rest; the relay trims by itself every half a minute. */
async function residentAtRest(): Promise<number> {
  await sleep(REST_MS);
  calls.mallocTrim(0);
  return process.memoryUsage().rss;
}

async function makeAll(serverPort: number, allocations: number): Promise<void> {
  const arena = new Arena(calls, 4096);
  const factory = new SocketFactory(calls, arena);
  const scratch = arena.reserve(2048);
  const server = transportAddress("127.0.0.2", serverPort);
  const exchange = (fd: number, request: Uint8Array): ReturnType<typeof stunOf> => {
    arena.bytes.set(request, scratch);
    calls.write(fd, arena.address + scratch, request.length);
    for (const until = performance.now() + 5000; performance.now() < until;) {
      const length = calls.read(fd, arena.address + scratch, 2048);
      if (length <= 0) continue;
      const bytes = arena.bytes.slice(scratch, scratch + length);
      if (decodeMessage(bytes).ok) return stunOf(bytes);
    }
    throw new Error("The relay did not answer within 5 s");
  };
  const transport = attribute(requestedTransport, 17);
  const made: { readonly fd: number; readonly stun: StunClient }[] = [];
  let makingMs = 0;
  let endingMs = 0;
  const makeUpTo = (wanted: number): void => {
    const started = performance.now();
    for (let index = made.length; index < wanted; index++) makeOne(index);
    makingMs += performance.now() - started;
  };
  const endAll = (): void => {
    const started = performance.now();
    for (const { fd, stun } of made.splice(0)) {
      exchange(fd, stun.signed("refresh", [attribute(lifetime, 0)]));
      calls.close(fd);
    }
    endingMs += performance.now() - started;
  };
  makeUpTo(Math.min(WARM, allocations));
  endAll();
  [makingMs, endingMs] = [0, 0];
  await reach("warm");
  makeUpTo(allocations >> 2);
  await reach("quarter");
  makeUpTo(allocations);
  await reach("full");
  endAll();
  await reach("ended");
  const rate = (ms: number): string => `${(ms / 1000).toFixed(2)} s (${Math.round((allocations / ms) * 1000)}/s)`;
  console.log(`clients: made in ${rate(makingMs)}, ended in ${rate(endingMs)}, one at a time`);
  process.stdin.destroy();

  function makeOne(index: number): void {
    const { fd } = factory.open({ local: transportAddress("127.0.0.1", 0), remote: server });
    const stun = new StunClient({ username: "u", password: "p" }, new SeededRandom(index + 1));
    stun.learn(exchange(fd, stun.plain("allocate", [transport])));
    const outcome = outcomeOf(exchange(fd, stun.signed("allocate", [transport])));
    if (outcome !== "success") throw new Error(`Allocation ${index} was refused: ${outcome}`);
    made.push({ fd, stun });
  }
}

/** Says so, and waits for the relay's side to have looked. */
async function reach(stage: Stage): Promise<void> {
  const seen = once(process.stdin, "data");
  process.stdout.write(`${stage}\n`);
  await seen;
}

function mib(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(1);
}
