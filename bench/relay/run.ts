// `npm run bench:relay -- [--quick] [--rounds N] [--seconds S] [--warm S] [--only ID,…] [--paths loopback,namespaces]
// [--parts requests,…] [--write]`: measures relays beside each other. `--write` makes docs/performance.md and its plot of a
// whole run, which takes some ten minutes. What a reader should know of the figures is written by hand in reading.md.
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, release, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { Load, Measurement } from "./generator.ts";
import { loopback, namespaces, type Path } from "./places.ts";
import { goalsTable } from "./goals.ts";
import { type OtherPart, otherParts } from "./other-parts.ts";
import { plot } from "./plot.ts";
import { markdown, type Outcome, ratio, type Run, table } from "./report.ts";
import { type Scenario, scenarios } from "./scenarios.ts";
import { prepare, startSubject, type Subject, type SubjectName, subjectNames } from "./subjects.ts";

const { values } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    rounds: { type: "string" },
    seconds: { type: "string" },
    warm: { type: "string", default: "0.3" },
    only: { type: "string" },
    subjects: { type: "string" },
    paths: { type: "string", default: "loopback,namespaces" },
    parts: { type: "string" },
    write: { type: "boolean", default: false },
  },
});
const rounds = Number(values.rounds ?? (values.quick ? 1 : 3));
const seconds = Number(values.seconds ?? (values.quick ? 1 : 0.6));
const chosen = scenarios.filter(({ id, quick }) => values.only?.split(",").includes(id) ?? (quick || !values.quick));
const subjects = subjectNames.filter((name) => values.subjects?.split(",").includes(name) ?? true);
const ATTEMPTS = 3;
const MEASUREMENT_TIMEOUT_MS = 60_000;
// Of the generator, which is started hundreds of times.
const compiled = mkdtempSync(join(tmpdir(), "bench-relay-compiled-"));
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
const wanted = values.parts?.split(",") ?? (isWhole ? otherParts.map(({ id }) => id) : []);
const run: Run = {
  machine: `${cpus()[0]?.model ?? "unknown processor"}, ${cpus().length} cores, Linux ${release()}`,
  versions: `Node ${process.version}, coturn ${coturnVersion}`,
  date: new Date().toISOString().slice(0, 10),
  rounds,
  seconds,
  outcomes,
  said: new Map(otherParts.filter(({ id }) => wanted.includes(id)).map(({ id, script }) => [id, saidBy(script)])),
};
const goals = goalsTable(run);
console.log(`\n${goals.join("\n")}`);
if (values.write) {
  const docs = new URL("../../docs/", import.meta.url);
  const reading = readFileSync(new URL("reading.md", import.meta.url), "utf8");
  writeFileSync(new URL("performance.md", docs), markdown(run, { goals, reading }));
  writeFileSync(new URL("performance.svg", docs), plot(run));
}

/** Runs another measurement, and returns what it said; also if it found a leak, which it says. */
function saidBy({ file, flags }: OtherPart["script"]): string {
  const script = fileURLToPath(new URL(file, import.meta.url));
  const { stdout, status } = spawnSync(process.execPath, [...flags, script], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  });
  const text = status === 0 ? stdout.trim() : `${stdout.trim()}\n(${file} ended with ${status})`;
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
  for (let attempt = 1; ; attempt++) {
    try {
      const text = execFileSync(command, rest, {
        encoding: "utf8",
        timeout: MEASUREMENT_TIMEOUT_MS,
        env: { ...process.env, NODE_COMPILE_CACHE: compiled },
      });
      const measurement: Measurement = JSON.parse(text);
      return measurement;
    } catch (error) {
      if (attempt === ATTEMPTS) throw error;
      console.error(`${subject.name}, ${scenario.id}: not measured, once more`);
    }
  }
}
