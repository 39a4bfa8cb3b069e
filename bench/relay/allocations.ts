// `npm run bench:allocations`: as many allocations at once as the port range has ports (16,384), over four reactors: the
// time to make and to end them, the relay's memory, and what is left afterwards, which must be nothing.
import { execFile } from "node:child_process";
import { readdirSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Arena, loadLibc, SocketFactory, startBatchedRelay } from "@turnpike/relay";
import { attribute, decodeMessage, lifetime, requestedTransport, transportAddress } from "@turnpike/stun";
import { SeededRandom } from "../../test/sim/support/random.ts";
import { outcomeOf, StunClient, stunOf } from "../../test/sim/support/stun-client.ts";

const [role = "relay", port = "0", count = "16384"] = process.argv.slice(2);
const libc = loadLibc();
if ("unavailable" in libc) throw new Error(libc.unavailable);
const calls = libc;
if (role === "clients") makeAll(Number(port), Number(count));
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
  const before = process.memoryUsage().rss;
  const server = relay.listening[0]?.local.port ?? 0;
  const self = fileURLToPath(import.meta.url);
  const clients = promisify(execFile)(process.execPath, [
    ...process.execArgv,
    self,
    "clients",
    String(server),
    String(allocations),
  ]);
  let most = 0;
  let rss = 0;
  const watch = setInterval(() => {
    most = Math.max(most, relay.stats().allocations);
    rss = Math.max(rss, process.memoryUsage().rss);
  }, 20);
  const { stdout } = await clients;
  clearInterval(watch);
  const { allocations: left, relaySockets, portsInUse } = relay.stats();
  console.log(stdout.trim());
  console.log(`relay: ${most} allocations at once; ${mib(rss)} MiB resident (${mib(before)} before the first)`);
  console.log(`       ${Math.round((rss - before) / Math.max(1, most))} bytes for each, the arena's pages included`);
  // A descriptor is closed by its reactor a moment after the answer has left.
  await sleep(200);
  const leaked = readdirSync("/dev/fd").length - descriptors;
  console.log(`left: ${left} allocations, ${relaySockets} sockets, ${portsInUse} ports, ${leaked} descriptors`);
  await relay.stop();
  if (left + relaySockets + portsInUse + leaked !== 0) process.exitCode = 1;
}

function makeAll(serverPort: number, allocations: number): void {
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
  const started = performance.now();
  for (let index = 0; index < allocations; index++) {
    const { fd } = factory.open({ local: transportAddress("127.0.0.1", 0), remote: server });
    const stun = new StunClient({ username: "u", password: "p" }, new SeededRandom(index + 1));
    stun.learn(exchange(fd, stun.plain("allocate", [transport])));
    const outcome = outcomeOf(exchange(fd, stun.signed("allocate", [transport])));
    if (outcome !== "success") throw new Error(`Allocation ${index} was refused: ${outcome}`);
    made.push({ fd, stun });
  }
  const full = performance.now();
  for (const { fd, stun } of made) exchange(fd, stun.signed("refresh", [attribute(lifetime, 0)]));
  const ended = performance.now();
  const rate = (ms: number): string => `${(ms / 1000).toFixed(2)} s (${Math.round((allocations / ms) * 1000)}/s)`;
  console.log(`clients: made in ${rate(full - started)}, ended in ${rate(ended - full)}, one at a time`);
}

function mib(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(1);
}
