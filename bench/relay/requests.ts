// `npm run bench:requests`: challenges, Allocate, Refresh and CreatePermission per second, of ours and of coturn in one
// run, each on one core. Requests are signed beforehand; each of the sockets has one under way. The server's own CPU time
// per request (all its threads, from the kernel's scheduler) says what a core could do where the generator is the limit. The
// first repeat, in which code is compiled and pages are touched for the first time, counts for neither of them.
import { loopback } from "./places.ts";
import { median } from "./report.ts";
import { type Exchange, type Operation, operations, RequestLoad, SOCKETS } from "./request-load.ts";
import { prepare, startSubject, type Subject, type SubjectName } from "./subjects.ts";

const ROUNDS = Number(process.argv[2] ?? "50");
const REPEATS = 3;

/** What was measured of one kind of request. */
interface Figures {
  readonly perSecond: number;
  readonly cpuUs: number;
}

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
for (const operation of operations) {
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
  const load = new RequestLoad(subject, path.relay.ip);
  const seen = new Map<Operation, Figures[]>(operations.map((operation) => [operation, []]));
  for (let repeat = 0; repeat <= REPEATS; repeat++) {
    const exchanges = Array.from({ length: ROUNDS }, () => load.round()).flat();
    if (repeat === 0) continue;
    for (const operation of operations) {
      const all = exchanges.filter((each) => each.operation === operation);
      const sum = (of: (exchange: Exchange) => number): number => all.reduce((total, each) => total + of(each), 0);
      const requests = sum((each) => each.requests);
      const perSecond = (requests / sum(({ fromNs, toNs }) => toNs - fromNs)) * 1e9;
      seen.get(operation)?.push({ perSecond, cpuUs: sum(({ cpuNs }) => cpuNs) / 1000 / requests });
    }
  }
  return seen;
}

function medians(seen: Map<Operation, Figures[]>): Map<Operation, Figures> {
  return new Map(
    [...seen].map(([operation, figures]) => {
      const [rates, times] = [figures.map(({ perSecond }) => perSecond), figures.map(({ cpuUs }) => cpuUs)];
      return [operation, { perSecond: median(rates), cpuUs: median(times) }];
    }),
  );
}
