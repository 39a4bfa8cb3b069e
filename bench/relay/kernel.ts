// `npm run bench:kernel -- [--parts figures,faults] [--generators frames,sockets] [--flows 1,32,256] [--subjects …]
// [--seconds S] [--rounds N] [--repeats N] [--results FILE] [--write]`: coturn, the batched plane and the modes of the
// kernel plane beside each other, by packets for each second that the relay's core was busy; then, what goes wrong around
// the kernel plane, timed. `--results` keeps what was measured in a file, and adds to it: a long run may be split.
// `--write` makes docs/performance/kernel.md and its plot of all that. Needs root, and changes nothing that it doesn't
// take away again.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, release } from "node:os";
import { parseArgs } from "node:util";
import { type FaultRow, faultNames, timeFault } from "./kernel-faults.ts";
import { type Figure, generators, measure, type Row } from "./kernel-figures.ts";
import { missing, run } from "./kernel-place.ts";
import { faultText, goalsTable, page, rowText, TITLE } from "./kernel-report.ts";
import { plot } from "./kernel-plot.ts";
import { GENERATOR_CORE } from "./places.ts";
import { kernelModes, prepare } from "./subjects.ts";

const { values } = parseArgs({
  options: {
    parts: { type: "string", default: "figures,faults" },
    generators: { type: "string", default: generators.join() },
    flows: { type: "string", default: "1,32,256" },
    subjects: { type: "string", default: ["coturn", "batched", ...kernelModes].join() },
    faults: { type: "string", default: faultNames.join() },
    seconds: { type: "string", default: "1" },
    rounds: { type: "string", default: "3" },
    repeats: { type: "string", default: "5" },
    results: { type: "string" },
    write: { type: "boolean", default: false },
  },
});

interface Results {
  readonly rows: readonly Row[];
  readonly faults: readonly FaultRow[];
}

const why = missing(cpus().length);
if (why !== undefined) fail(why);
const flows = values.flows.split(",").map(Number);
if (flows.some((count) => ![1, 2, 4, 8, 16, 32, 64, 128, 256, 512].includes(count))) {
  fail("--flows takes powers of two up to 512");
}
const subjects = choose("--subjects", values.subjects, ["coturn", "batched", ...kernelModes] as const);
const chosen = choose("--generators", values.generators, generators);
const faults = choose("--faults", values.faults, faultNames);
const parts = choose("--parts", values.parts, ["figures", "faults"] as const);
let results: Results = { rows: [], faults: [] };
if (values.results !== undefined && existsSync(values.results)) {
  results = JSON.parse(readFileSync(values.results, "utf8"));
}

// ^C ends what is being measured, and this process once it has tidied up.
let stopped = false;
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => (stopped = true));

const { yardstick, blaster, coturnVersion } = prepare();
// This process, too, stays off the relay's core.
run([], "taskset", "-a", "-p", "-c", String(GENERATOR_CORE), String(process.pid));

try {
  if (parts.includes("figures")) await figures();
  if (parts.includes("faults")) await timeFaults();
} catch (error) {
  // The signal that ended what was measured may yet have to be told of.
  await new Promise((resolve) => setTimeout(resolve, 100));
  if (!stopped) throw error;
}
if (stopped) fail("Stopped: nothing is written");
console.log(`\n${goalsTable(results.rows).join("\n")}`);
if (values.write) {
  const docs = new URL("../../docs/performance/", import.meta.url);
  const text = page({
    machine: `${cpus()[0]?.model ?? "unknown processor"}, ${cpus().length} cores, Linux ${release()}`,
    versions: `Node ${process.version}, coturn ${coturnVersion}`,
    date: new Date().toISOString().slice(0, 10),
    rounds: Number(values.rounds),
    seconds: Number(values.seconds),
    ...results,
  });
  writeFileSync(new URL("kernel.md", docs), text);
  writeFileSync(new URL("kernel.svg", docs), plot(results.rows));
}

async function figures(): Promise<void> {
  const all: readonly Figure[] = chosen.flatMap((generator) =>
    flows.flatMap((count) =>
      (["to peer", "to client"] as const).flatMap((direction) =>
        subjects.map((subject): Figure => ({ generator, flows: count, direction, subject })),
      ),
    ),
  );
  console.log(TITLE);
  const options = { rounds: Number(values.rounds), seconds: Number(values.seconds), blaster, yardstick };
  for (const [index, figure] of all.entries()) {
    progress(`${index + 1} of ${all.length}`);
    const row = await measure(figure, options);
    if (stopped) return;
    progress("");
    console.log(rowText(row));
    const others = results.rows.filter((each) => !isSame(each, row));
    keep({ ...results, rows: [...others, row] });
  }
}

async function timeFaults(): Promise<void> {
  console.log("");
  for (const [index, fault] of faults.entries()) {
    progress(`${index + 1} of ${faults.length}: ${fault}`);
    const timed = await timeFault(fault, Number(values.repeats));
    if (stopped) return;
    progress("");
    for (const row of timed) console.log(faultText(row));
    keep({ ...results, faults: [...results.faults.filter((each) => each.fault !== fault), ...timed] });
  }
}

function keep(all: Results): void {
  results = all;
  if (values.results !== undefined) writeFileSync(values.results, JSON.stringify(results, undefined, 1));
}

function isSame(a: Figure, b: Figure): boolean {
  return a.generator === b.generator && a.flows === b.flows && a.direction === b.direction && a.subject === b.subject;
}

/** On a terminal: one line, written over. */
function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`);
}

function choose<Name extends string>(flag: string, text: string, names: readonly Name[]): readonly Name[] {
  const wanted = text.split(",");
  const unknown = wanted.find((name) => !names.some((each) => each === name));
  if (unknown !== undefined) fail(`${flag} doesn't know ${unknown}: it takes ${names.join(", ")}`);
  return names.filter((name) => wanted.includes(name));
}

function fail(message: string): never {
  console.error(message);
  process.exit(1);
}
