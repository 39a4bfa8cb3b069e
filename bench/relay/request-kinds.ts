import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { median } from "./median.ts";
import type { Path } from "./places.ts";
import type { Subject, SubjectName } from "./subjects.ts";

/** What is asked for. `allocate`: a new client each time, so the challenge, the Allocate and the Refresh that ends it. */
export const requestKinds = ["challenge", "allocate", "refresh", "permission", "channel"] as const;
export type RequestKind = (typeof requestKinds)[number];

/** What `requests.ts` prints. */
export interface RequestMeasurement {
  readonly answered: number;
  readonly cpuSeconds: number;
}

/** CPU microseconds of each relay for each kind of request. */
export type RequestCosts = ReadonlyMap<SubjectName, ReadonlyMap<RequestKind, number>>;

/** Of each kind so many, after as many more that warm the relay. */
const COUNT: Readonly<Record<RequestKind, number>> = {
  challenge: 20_000,
  allocate: 3000,
  refresh: 10_000,
  permission: 10_000,
  channel: 10_000,
};

/** Measures what speaks TURN, in turns. */
export function measureRequests(path: Path, running: readonly Subject[], rounds: number): RequestCosts {
  const subjects = running.filter(({ protocol }) => protocol === "turn");
  const costs = new Map<SubjectName, Map<RequestKind, number>>(subjects.map(({ name }) => [name, new Map()]));
  for (const kind of requestKinds) {
    const all = new Map<SubjectName, number[]>(subjects.map(({ name }) => [name, []]));
    for (let round = 0; round <= rounds; round++) {
      for (const subject of subjects) {
        const microseconds = measure(path, subject, kind);
        if (round > 0) all.get(subject.name)?.push(microseconds);
      }
    }
    for (const [name, each] of all) costs.get(name)?.set(kind, median(each));
  }
  return costs;
}

function measure(path: Path, { port, pid }: Subject, kind: RequestKind): number {
  const script = fileURLToPath(new URL("requests.ts", import.meta.url));
  const { enter, core } = path.generator;
  const node = [process.execPath, "--conditions=@turnpike/source"];
  const words = [script, path.relay.ip, String(port), String(pid), kind, String(COUNT[kind])];
  const [command = "", ...rest] = [...enter, "taskset", "-c", String(core), ...node, ...words];
  const said: RequestMeasurement = JSON.parse(execFileSync(command, rest, { encoding: "utf8" }));
  return (said.cpuSeconds / said.answered) * 1e6;
}

/** The costs for a terminal and the page. */
export function requestTable(costs: RequestCosts): readonly string[] {
  const cells = (name: SubjectName): readonly string[] =>
    requestKinds.flatMap((kind) => {
      const own = costs.get(name)?.get(kind) ?? 0;
      return [own.toFixed(1), ((costs.get("coturn")?.get(kind) ?? 0) / own).toFixed(2)];
    });
  return [
    "**CPU microseconds of a request, all threads, and coturn's as a multiple of it**",
    "",
    `| relay | ${requestKinds.flatMap((kind) => [kind, "× coturn"]).join(" | ")} |`,
    `| --- | ${requestKinds.flatMap(() => ["---:", "---:"]).join(" | ")} |`,
    ...[...costs.keys()].map((name) => `| ${name} | ${cells(name).join(" | ")} |`),
  ];
}
