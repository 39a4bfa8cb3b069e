// `npm run bench:requests`: challenges, Allocate, Refresh and CreatePermission per second, of ours and of coturn in one
// run, each on one core. Requests are signed beforehand; each of the sockets has one under way. The server's own CPU time
// per request (all its threads, from the kernel's scheduler) says what a core could do where the generator is the limit. The
// first repeat, in which code is compiled and pages are touched for the first time, counts for neither of them.
import { readdirSync, readFileSync } from "node:fs";
import { Arena, loadLibc, SocketFactory } from "@turnpike/relay";
import {
  attribute,
  lifetime,
  requestedTransport,
  transportAddress,
  xorPeerAddress,
  type EncodedAttribute,
  type Method,
} from "@turnpike/stun";
import { SeededRandom } from "../../test/sim/support/random.ts";
import { outcomeOf, StunClient, stunOf } from "../../test/sim/support/stun-client.ts";
import { loopback } from "./places.ts";
import { prepare, startSubject, type Subject, type SubjectName } from "./subjects.ts";

const SOCKETS = 200;
const ROUNDS = Number(process.argv[2] ?? "50");
const REPEATS = 3;
const ANSWER_TIMEOUT_MS = 5000;
const LONGEST_ANSWER = 2048;

const libc = loadLibc();
if ("unavailable" in libc) throw new Error(libc.unavailable);
const calls = libc;
const arena = new Arena(calls, 4096);
const factory = new SocketFactory(calls, arena);
const scratch = arena.reserve(LONGEST_ANSWER);

interface Client {
  readonly fd: number;
  readonly stun: StunClient;
}

/** What was measured of one kind of request. */
interface Figures {
  readonly perSecond: number;
  readonly cpuUs: number;
}

const OPERATIONS = ["challenge", "Allocate", "Refresh", "CreatePermission", "Refresh 0"] as const;
type Operation = (typeof OPERATIONS)[number];

const path = loopback();
const { yardstick, coturnVersion } = prepare();
const results = new Map<SubjectName, Map<Operation, Figures>>();
for (const name of ["coturn", "batched"] as const) {
  const subject = await startSubject(name, path.relay, yardstick);
  try {
    results.set(name, medians(measure(subject)));
  } finally {
    await subject.stop();
  }
}
console.log(
  `${SOCKETS} clients, ${ROUNDS} rounds, medians of ${REPEATS} after one to warm up; coturn ${coturnVersion}, one relay thread`,
);
console.log("                     requests/s     CPU µs each    per core, by CPU time");
for (const operation of OPERATIONS) {
  const [theirs, ours] = [results.get("coturn")?.get(operation), results.get("batched")?.get(operation)];
  if (theirs === undefined || ours === undefined) throw new Error(`${operation} was not measured`);
  for (const [name, { perSecond, cpuUs }] of [
    ["coturn", theirs],
    ["turnpike", ours],
  ] as const) {
    const perCore = Math.round(1e6 / cpuUs);
    console.log(
      `${operation.padEnd(17)} ${name.padEnd(9)} ${String(Math.round(perSecond)).padStart(7)} ${cpuUs.toFixed(1).padStart(14)} ${String(perCore).padStart(16)}`,
    );
  }
  console.log(`${" ".repeat(18)}ratio by CPU time: ${(theirs.cpuUs / ours.cpuUs).toFixed(2)}`);
}

function measure(subject: Subject): Map<Operation, Figures[]> {
  const server = transportAddress(path.relay.ip, subject.port);
  // Of an address of their own each round: coturn holds on to a five-tuple after its allocation has ended.
  let rounds = 0;
  const openClients = (): Client[] => {
    const local = transportAddress(`127.1.${(++rounds >> 8) & 255}.${rounds & 255}`, 0);
    return Array.from({ length: SOCKETS }, (_, index) => {
      const { fd } = factory.open({ local, remote: server });
      return { fd, stun: new StunClient({ username: "u", password: "p" }, new SeededRandom(index + 1)) };
    });
  };
  const allocate = [attribute(requestedTransport, 17)];
  const permit = [attribute(xorPeerAddress, transportAddress("203.0.114.1", 9))];
  const signed = (method: Method, attributes: readonly EncodedAttribute[]) => (client: Client) =>
    client.stun.signed(method, attributes);
  const kinds: readonly (readonly [Operation, (client: Client) => Uint8Array, number | "success"])[] = [
    ["challenge", ({ stun }) => stun.plain("allocate", allocate), 401],
    ["Allocate", signed("allocate", allocate), "success"],
    ["Refresh", signed("refresh", [attribute(lifetime, 600)]), "success"],
    ["CreatePermission", signed("createPermission", permit), "success"],
    ["Refresh 0", signed("refresh", [attribute(lifetime, 0)]), "success"],
  ];
  const seen = new Map<Operation, Figures[]>(OPERATIONS.map((operation) => [operation, []]));
  for (let repeat = 0; repeat <= REPEATS; repeat++) {
    const sums = new Map<Operation, { ms: number; cpuNs: number }>();
    for (let round = 0; round < ROUNDS; round++) {
      const clients = openClients();
      for (const [operation, make, expected] of kinds) {
        const { ms, cpuNs } = exchangeAll(subject.pid, clients, make, expected);
        const sum = sums.get(operation);
        sums.set(operation, { ms: (sum?.ms ?? 0) + ms, cpuNs: (sum?.cpuNs ?? 0) + cpuNs });
      }
      for (const { fd } of clients) calls.close(fd);
    }
    const requests = ROUNDS * SOCKETS;
    if (repeat === 0) continue;
    for (const [operation, { ms, cpuNs }] of sums) {
      seen.get(operation)?.push({ perSecond: (requests / ms) * 1000, cpuUs: cpuNs / 1000 / requests });
    }
  }
  return seen;
}

/** One request of each client, all under way at once. */
function exchangeAll(
  pid: number,
  clients: readonly Client[],
  make: (client: Client) => Uint8Array,
  expected: number | "success",
): { readonly ms: number; readonly cpuNs: number } {
  const requests = clients.map((client) => make(client));
  const answers: Uint8Array[] = [];
  const cpuBefore = cpuNs(pid);
  const started = performance.now();
  for (const [index, { fd }] of clients.entries()) {
    const request = requests[index]!;
    arena.bytes.set(request, scratch);
    calls.write(fd, arena.address + scratch, request.length);
  }
  const waiting = new Set(clients.keys());
  while (waiting.size > 0) {
    for (const index of waiting) {
      const length = calls.read(clients[index]!.fd, arena.address + scratch, LONGEST_ANSWER);
      if (length <= 0) continue;
      answers[index] = arena.bytes.slice(scratch, scratch + length);
      waiting.delete(index);
    }
    if (performance.now() - started > ANSWER_TIMEOUT_MS) {
      throw new Error(`${waiting.size} requests were not answered within ${ANSWER_TIMEOUT_MS} ms`);
    }
  }
  const ms = performance.now() - started;
  const used = cpuNs(pid) - cpuBefore;
  for (const [index, { stun }] of clients.entries()) {
    const answer = stunOf(answers[index]!);
    const outcome = outcomeOf(answer);
    if (outcome !== expected) throw new Error(`Answered ${outcome} where ${expected} was expected`);
    if (outcome === 401) stun.learn(answer);
  }
  return { ms, cpuNs: used };
}

/** CPU time of all threads of a process, as the scheduler counts it. */
function cpuNs(pid: number): number {
  const threads = readdirSync(`/proc/${pid}/task`);
  const times = threads.map((thread) =>
    Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]),
  );
  return times.reduce((sum, each) => sum + each, 0);
}

function medians(seen: Map<Operation, Figures[]>): Map<Operation, Figures> {
  const median = (values: readonly number[]): number =>
    values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
  return new Map(
    [...seen].map(([operation, figures]) => {
      const [rates, times] = [figures.map(({ perSecond }) => perSecond), figures.map(({ cpuUs }) => cpuUs)];
      return [operation, { perSecond: median(rates), cpuUs: median(times) }];
    }),
  );
}
