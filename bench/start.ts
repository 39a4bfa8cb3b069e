// `npm run bench:start -- [RUNS]`: how long after its process was started `turnpike relay` answers its first Allocate
// request with success, as it is installed (`npm run build`): first without a compile cache, then with one that an earlier
// start has left. A raw client asks again and again, as one that waits for the relay would.
import { type ChildProcess, spawn } from "node:child_process";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { attribute, decodeMessage, lifetime, requestedTransport, type StunMessage } from "@turnpike/stun";
import { SeededRandom } from "../test/sim/support/random.ts";
import { outcomeOf, StunClient, stunOf } from "../test/sim/support/stun-client.ts";

const RUNS = Number(process.argv[2] ?? "7");
const PORT = 23_495;
const ASK_EVERY_MS = 4;
const GIVE_UP_MS = 60_000;
const launcher = fileURLToPath(new URL("../packages/turnpike/bin/turnpike.js", import.meta.url));

const cache = mkdtempSync(join(tmpdir(), "bench-start-"));
try {
  const without = await times({ NODE_DISABLE_COMPILE_CACHE: "1" });
  // The first start writes what the others find.
  await timeOfOne({ XDG_CACHE_HOME: cache });
  const withCache = await times({ XDG_CACHE_HOME: cache });
  const bare = await times(undefined);
  console.log(`process start to the first allocation, medians (least to most) of ${RUNS} starts`);
  console.log(`  turnpike relay, compile cache from an earlier start  ${said(withCache)}`);
  console.log(`  turnpike relay, no compile cache                     ${said(without)}`);
  console.log(`  node alone, with nothing to run                      ${said(bare)}`);
} finally {
  rmSync(cache, { recursive: true });
}

async function times(environment: Readonly<Record<string, string>> | undefined): Promise<readonly number[]> {
  const all: number[] = [];
  for (let run = 0; run < RUNS; run++) {
    all.push(environment === undefined ? await timeOfNode() : await timeOfOne(environment));
  }
  return all.toSorted((a, b) => a - b);
}

async function timeOfNode(): Promise<number> {
  const started = performance.now();
  await once(spawn(process.execPath, ["--eval", ""], { stdio: "ignore" }), "exit");
  return performance.now() - started;
}

async function timeOfOne(environment: Readonly<Record<string, string>>): Promise<number> {
  const socket = createSocket("udp4");
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  const words = ["relay", "--listen", `udp:127.0.0.1:${PORT}`, "--relay-address", "127.0.0.1", "--user", "u:p"];
  const started = performance.now();
  const relay = spawn(process.execPath, [launcher, ...words, "--log-level", "error"], {
    env: { ...process.env, NODE_COMPILE_CACHE: undefined, CACHE_DIRECTORY: undefined, ...environment },
    stdio: ["ignore", "ignore", "inherit"],
  });
  try {
    const client = new StunClient({ username: "u", password: "p" }, new SeededRandom(1));
    const transport = attribute(requestedTransport, 17);
    const challenge = await ask(socket, relay, client.plain("allocate", [transport]));
    client.learn(challenge);
    const outcome = outcomeOf(await ask(socket, relay, client.signed("allocate", [transport])));
    if (outcome !== "success") throw new Error(`The first Allocate request was answered ${outcome}`);
    const elapsed = performance.now() - started;
    await ask(socket, relay, client.signed("refresh", [attribute(lifetime, 0)]));
    return elapsed;
  } finally {
    socket.close();
    await stop(relay);
  }
}

/** Sends a request until it is answered. */
async function ask(socket: Socket, relay: ChildProcess, request: Uint8Array): Promise<StunMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<StunMessage>();
  const send = (): void => {
    if (relay.exitCode !== null) reject(new Error(`The relay ended with ${relay.exitCode}`));
    else socket.send(request, PORT, "127.0.0.1");
  };
  const onMessage = (bytes: Buffer): void => {
    const isAnswer = bytes.subarray(8, 20).equals(request.subarray(8, 20));
    if (isAnswer && decodeMessage(bytes).ok) resolve(stunOf(bytes));
  };
  const again = setInterval(send, ASK_EVERY_MS);
  const late = setTimeout(() => reject(new Error(`No answer within ${GIVE_UP_MS} ms`)), GIVE_UP_MS);
  socket.on("message", onMessage);
  send();
  try {
    return await promise;
  } finally {
    socket.off("message", onMessage);
    clearInterval(again);
    clearTimeout(late);
  }
}

async function stop(relay: ChildProcess): Promise<void> {
  if (relay.exitCode !== null) return;
  const ended = once(relay, "exit");
  // The second one doesn't wait for allocations.
  relay.kill("SIGTERM");
  await ended;
}

function said(sorted: readonly number[]): string {
  const seconds = (ms: number | undefined): string => ((ms ?? NaN) / 1000).toFixed(2);
  return `${seconds(sorted[sorted.length >> 1])} s (${seconds(sorted[0])} to ${seconds(sorted.at(-1))})`;
}
