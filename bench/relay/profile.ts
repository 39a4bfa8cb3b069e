// `npm run bench:profile -- [--only ID,…] [--subjects NAME,…] [--write]`: where the CPU time of a packet or a request goes,
// of ours, of coturn and of the yardstick, by samples of perf (Debian's linux-perf). `--write` makes
// docs/performance/profiles.md.
import { execFile, execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, release, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import type { Load, Measurement } from "./generator.ts";
import { loopback } from "./places.ts";
import { type Part, partOf, parts, readSamples } from "./samples.ts";
import { scenarios } from "./scenarios.ts";
import { prepare, startSubject, type Subject, type SubjectName, subjectNames } from "./subjects.ts";

const DEFAULT = "voice-256-up,voice-256-down,voice-32-up,voice-32-down,bursts-32-up";
const { values } = parseArgs({
  options: {
    only: { type: "string", default: DEFAULT },
    subjects: { type: "string", default: subjectNames.join(",") },
    write: { type: "boolean", default: false },
  },
});
/** Samples a second. */
const FREQUENCY = 1999;
/** From the generator's start to the first sample: its allocations are made, what is compiled as it runs is compiled. */
const LEAD_MS = 2000;
const SAMPLED_SECONDS = 2;
const LOAD_SECONDS = 4;
/** Node tells perf of what it compiles. */
const PROFILED = ["--perf-basic-prof-only-functions", "--interpreted-frames-native-stack"];
const MAX_TEXT_BYTES = 1 << 30;
const run = promisify(execFile);
const generator = fileURLToPath(new URL("generator.ts", import.meta.url));

/** Of one subject under one load. */
interface Profile {
  readonly name: SubjectName;
  /** CPU time of a packet, while it was sampled. */
  readonly costUs: number;
  readonly samples: number;
  readonly shares: ReadonlyMap<Part, number>;
}

if (spawnSync("perf", ["--version"]).error !== undefined) {
  execFileSync("apt-get", ["install", "-y", "-o", "DPkg::Lock::Timeout=300", "linux-perf"], { stdio: "ignore" });
}
const { yardstick, blaster, coturnVersion } = prepare();
const place = loopback();
const folder = mkdtempSync(join(tmpdir(), "bench-profile-"));
const wanted = values.only.split(",");
const chosen = scenarios.filter(({ id }) => wanted.includes(id));
if (chosen.length === 0) throw new Error(`There is no such scenario: ${scenarios.map(({ id }) => id).join(", ")}`);
const sections: string[] = [];
const found = new Map(chosen.map(({ id }): [string, Profile[]] => [id, []]));
try {
  for (const name of subjectNames.filter((each) => values.subjects.split(",").includes(each))) {
    const subject = await startSubject(name, place.relay, yardstick, PROFILED);
    try {
      for (const { id, load } of chosen) found.get(id)?.push(await profile(subject, load));
    } finally {
      await subject.stop();
    }
  }
} finally {
  rmSync(folder, { recursive: true });
}
for (const { id, title } of chosen) sections.push(`## ${title}`, "", ...table(found.get(id) ?? []), "");
console.log(sections.join("\n"));
if (values.write) {
  const lead = readFileSync(new URL("profiles.md", import.meta.url), "utf8").trimEnd();
  const machine = `${cpus()[0]?.model ?? "unknown processor"}, ${cpus().length} cores, Linux ${release()}`;
  const by = `${machine}; Node ${process.version}, coturn ${coturnVersion}; ${new Date().toISOString().slice(0, 10)}`;
  const page = `${lead}\n\n${by}\n\n${sections.join("\n").trimEnd()}\n`;
  writeFileSync(new URL("../../docs/performance/profiles.md", import.meta.url), page);
}

async function profile(subject: Subject, shape: (typeof chosen)[number]["load"]): Promise<Profile> {
  const load: Load = {
    ...shape,
    protocol: subject.protocol,
    server: place.relay.ip,
    serverPort: subject.port,
    own: place.generator.ip,
    warmSeconds: 0.5,
    seconds: LOAD_SECONDS,
    pid: subject.pid,
    blaster,
  };
  const loaded = run("taskset", [
    "-c",
    String(place.generator.core),
    process.execPath,
    "--conditions=@turnpike/source",
    generator,
    JSON.stringify(load),
  ]);
  await sleep(LEAD_MS);
  const file = join(folder, "perf.data");
  const how = ["-q", "-e", "cpu-clock", "-F", String(FREQUENCY), "-g", "-p", String(subject.pid), "-o", file];
  await run("perf", ["record", ...how, "--", "sleep", String(SAMPLED_SECONDS)]);
  const { stdout } = await loaded;
  const measured: Measurement = JSON.parse(stdout);
  const said = await run("perf", ["script", "-i", file, "-F", "comm,tid,ip,sym,dso"], { maxBuffer: MAX_TEXT_BYTES });
  const samples = readSamples(said.stdout);
  const counts = new Map<Part, number>();
  for (const frames of samples) counts.set(partOf(frames), (counts.get(partOf(frames)) ?? 0) + 1);
  const shares = new Map([...counts].map(([part, count]) => [part, count / samples.length]));
  return { name: subject.name, costUs: measured.cpuSecondsPerMillion, samples: samples.length, shares };
}

/** Microseconds of CPU time for a packet, by what they were spent on. */
function table(profiles: readonly Profile[]): readonly string[] {
  const us = ({ costUs, shares }: Profile, which: readonly Part[]): string =>
    (costUs * which.reduce((sum, part) => sum + (shares.get(part) ?? 0), 0)).toFixed(2);
  const row = (title: string, which: readonly Part[]): readonly string[] => [
    title,
    ...profiles.map((each) => us(each, which)),
  ];
  const kernel = parts.filter((part) => part.startsWith("kernel"));
  const rows = [
    ["µs of CPU time for a packet", ...profiles.map(({ name }) => name)],
    ["---", ...profiles.map(() => "---:")],
    ...parts.filter((part) => profiles.some(({ shares }) => shares.has(part))).map((part) => row(part, [part])),
    row("**all of the kernel's**", kernel),
    row(
      "**all but the kernel's**",
      parts.filter((part) => !kernel.includes(part)),
    ),
    ["samples", ...profiles.map(({ samples }) => String(samples))],
  ];
  return rows.map((cells) => `| ${cells.join(" | ")} |`);
}
