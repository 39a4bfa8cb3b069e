// `npm run bench:relay -- [--quick] [--rounds N] [--seconds S] [--warm S] [--only ID,…] [--paths loopback,namespaces]
// [--no-requests] [--no-allocations] [--write]`: measures relays beside each other. `--write` makes docs/performance.md and its plot.
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { cpus, release } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { Load, Measurement } from "./generator.ts";
import { loopback, namespaces, type Path } from "./places.ts";
import { markdown, type Outcome, plot, ratio, type Run, table } from "./report.ts";
import { type Scenario, scenarios } from "./scenarios.ts";
import { prepare, startSubject, type Subject, type SubjectName, subjectNames } from "./subjects.ts";

const { values } = parseArgs({
  allowNegative: true,
  options: {
    quick: { type: "boolean", default: false },
    rounds: { type: "string" },
    seconds: { type: "string" },
    warm: { type: "string", default: "0.5" },
    only: { type: "string" },
    subjects: { type: "string" },
    paths: { type: "string", default: "loopback,namespaces" },
    requests: { type: "boolean", default: true },
    allocations: { type: "boolean", default: true },
    write: { type: "boolean", default: false },
  },
});
const rounds = Number(values.rounds ?? (values.quick ? 1 : 3));
const seconds = Number(values.seconds ?? (values.quick ? 1 : 2));
const chosen = scenarios.filter(({ id, quick }) => values.only?.split(",").includes(id) ?? (quick || !values.quick));
const subjects = subjectNames.filter((name) => values.subjects?.split(",").includes(name) ?? true);
const generator = fileURLToPath(new URL("generator.ts", import.meta.url));

if (cpus().length < 2) throw new Error("Two cores are needed: one for the relay, one for the load generator");
if (chosen.length === 0) throw new Error(`There is no such scenario: ${scenarios.map(({ id }) => id).join(", ")}`);

const { yardstick, blaster, coturnVersion } = prepare();
const outcomes: Outcome[] = [];
for (const make of [loopback, namespaces].filter(({ name }) => values.paths.split(",").includes(name))) {
  const path = make();
  const running: Subject[] = [];
  try {
    for (const name of subjects) running.push(await startSubject(name, path.relay, yardstick));
    for (const scenario of chosen) outcomes.push(measureAll(path, running, scenario));
  } finally {
    await Promise.all(running.map((subject) => subject.stop()));
    path.remove();
  }
}
const isWhole = !values.quick && values.only === undefined;
const requests = isWhole && values.requests ? saidBy("requests.ts", ["--conditions=@turnpike/source"]) : "";
// On what is built, as it is installed: sources would be stripped of their types on every thread.
const allocations = isWhole && values.allocations ? saidBy("allocations.ts", []) : "";
const run: Run = {
  machine: `${cpus()[0]?.model ?? "unknown processor"}, ${cpus().length} cores, Linux ${release()}`,
  versions: `Node ${process.version}, coturn ${coturnVersion}`,
  date: new Date().toISOString().slice(0, 10),
  rounds,
  seconds,
  outcomes,
  requests,
  allocations,
};
if (values.write) {
  const docs = new URL("../../docs/", import.meta.url);
  writeFileSync(new URL("performance.md", docs), markdown(run));
  writeFileSync(new URL("performance.svg", docs), plot(run));
}

/** Runs another measurement, and returns what it said. */
function saidBy(name: string, flags: readonly string[]): string {
  const script = fileURLToPath(new URL(name, import.meta.url));
  const text = execFileSync(process.execPath, [...flags, script], { encoding: "utf8" }).trim();
  console.log(`\n${text}`);
  return text;
}

/** Every subject in turns; a first turn of each is not counted. */
function measureAll(path: Path, running: readonly Subject[], scenario: Scenario): Outcome {
  const all = new Map<SubjectName, Measurement[]>(running.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const subject of running) all.get(subject.name)?.push(measure(path, subject, scenario));
  }
  const outcome = { path: path.name, scenario, rounds: all };
  console.log(`\n${path.name}`);
  console.log(table(outcome).join("\n"));
  if (subjects.includes("batched")) {
    const against = subjects
      .filter((name) => name !== "batched")
      .map((name) => `${ratio(outcome, name).toFixed(2)}× ${name}`);
    console.log(`batched: ${against.join(", ")}`);
  }
  return outcome;
}

function measure(path: Path, subject: Subject, scenario: Scenario): Measurement {
  const load: Load = {
    ...scenario.load,
    protocol: subject.protocol,
    server: path.relay.ip,
    serverPort: subject.port,
    own: path.generator.ip,
    warmSeconds: Number(values.warm),
    seconds,
    pid: subject.pid,
    blaster,
  };
  const [command, ...rest] = [
    ...path.generator.enter,
    "taskset",
    "-c",
    String(path.generator.core),
    process.execPath,
    "--conditions=@turnpike/source",
    generator,
    JSON.stringify(load),
  ];
  const measurement: Measurement = JSON.parse(execFileSync(command, rest, { encoding: "utf8" }));
  return measurement;
}
