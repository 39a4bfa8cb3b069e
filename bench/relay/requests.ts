// `requests.ts SERVER PORT PID KIND COUNT`: makes requests of one kind, many under way at once, and prints one JSON line: how
// many were answered as wished, and the CPU time of the process PID meanwhile. The generator may be slower than the relay:
// what counts is the relay's time for each.
import { readFileSync } from "node:fs";
import { Arena, loadLibc, SocketFactory } from "@turnpike/relay";
import {
  attribute,
  channelNumber,
  decodeMessage,
  lifetime,
  requestedTransport,
  transportAddress,
  xorPeerAddress,
} from "@turnpike/stun";
import { SeededRandom } from "../../test/sim/support/random.ts";
import type { RequestMeasurement } from "./request-kinds.ts";
import { outcomeOf, StunClient, stunOf } from "../../test/sim/support/stun-client.ts";

const [host = "127.0.0.1", port = "3478", pid = "0", kind = "challenge", count = "2000"] = process.argv.slice(2);
const found = loadLibc();
if ("unavailable" in found) throw new Error(found.unavailable);
const libc = found;
const arena = new Arena(libc, 4096);
const factory = new SocketFactory(libc, arena);
const scratch = arena.reserve(2048);
const server = transportAddress(host, Number(port));
const transport = attribute(requestedTransport, 17);
const peer = attribute(xorPeerAddress, transportAddress(host, 9));
const CLIENTS = 32;
/** USER_HZ of every Linux that people use. */
const TICKS_PER_SECOND = 100;
const PATIENCE_MS = 2000;

interface Client {
  readonly fd: number;
  readonly stun: StunClient;
}

let seed = process.pid;
const clients = Array.from({ length: CLIENTS }, open);
const isOfAllocation = kind !== "challenge" && kind !== "allocate";
if (isOfAllocation) {
  for (const client of clients) {
    const { fd, stun } = client;
    stun.learn(exchange(client));
    send(fd, stun.signed("allocate", [transport]));
    if (outcomeOf(stunOf(receive(fd))) !== "success") throw new Error("The relay refused an allocation");
  }
}
let answered = 0;
const before = cpuTicks();
while (answered < Number(count)) {
  answered += kind === "allocate" ? allocateAll() : askAll();
}
const cpuSeconds = (cpuTicks() - before) / TICKS_PER_SECOND;
if (isOfAllocation) for (const { fd, stun } of clients) send(fd, stun.signed("refresh", [attribute(lifetime, 0)]));
const measurement: RequestMeasurement = { answered, cpuSeconds };
console.log(JSON.stringify(measurement));

/** One request of every client, then the answers. */
function askAll(): number {
  for (const { fd, stun } of clients) {
    if (kind === "challenge") send(fd, stun.plain("allocate", [transport]));
    else if (kind === "refresh") send(fd, stun.signed("refresh", [attribute(lifetime, 600)]));
    else if (kind === "permission") send(fd, stun.signed("createPermission", [peer]));
    else send(fd, stun.signed("channelBind", [attribute(channelNumber, 0x4000), peer]));
  }
  for (const { fd } of clients) expectOutcome(receive(fd), kind === "challenge" ? 401 : "success");
  return clients.length;
}

/** New clients: a challenge, an allocation and the end of it each. */
function allocateAll(): number {
  const fresh = Array.from({ length: CLIENTS }, open).filter((client) => {
    const answer = exchange(client);
    // coturn remembers a five-tuple for a while: its port is left to others.
    if (outcomeOf(answer) !== 401) return libc.close(client.fd) !== 0;
    client.stun.learn(answer);
    return true;
  });
  for (const { fd, stun } of fresh) send(fd, stun.signed("allocate", [transport]));
  for (const { fd } of fresh) expectOutcome(receive(fd), "success");
  for (const { fd, stun } of fresh) send(fd, stun.signed("refresh", [attribute(lifetime, 0)]));
  for (const { fd } of fresh) expectOutcome(receive(fd), "success");
  for (const { fd } of fresh) libc.close(fd);
  return fresh.length;
}

function expectOutcome(bytes: Uint8Array, wanted: "success" | number): void {
  const outcome = outcomeOf(stunOf(bytes));
  if (outcome !== wanted) throw new Error(`The relay answered ${outcome} to ${kind}`);
}

function open(): Client {
  const { fd } = factory.open({ local: transportAddress(host, 0), remote: server });
  return { fd, stun: new StunClient({ username: "u", password: "p" }, new SeededRandom(++seed)) };
}

function exchange({ fd, stun }: Client): ReturnType<typeof stunOf> {
  send(fd, stun.plain("allocate", [transport]));
  return stunOf(receive(fd));
}

function send(fd: number, bytes: Uint8Array): void {
  arena.bytes.set(bytes, scratch);
  libc.write(fd, arena.address + scratch, bytes.length);
}

function receive(fd: number): Uint8Array {
  for (const until = performance.now() + PATIENCE_MS; performance.now() < until;) {
    const length = libc.read(fd, arena.address + scratch, 2048);
    if (length <= 0) continue;
    const bytes = arena.bytes.slice(scratch, scratch + length);
    if (decodeMessage(bytes).ok) return bytes;
  }
  throw new Error(`No answer within ${PATIENCE_MS} ms`);
}

/** User and system time of the process, all threads. */
function cpuTicks(): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return Number(fields[11]) + Number(fields[12]);
}
