// `npm run bench:profile -- [--only ID,…] [--subjects NAME,…] [--write]`: where the CPU time of a packet or a request goes,
// of ours, of coturn and of the yardstick, by samples of perf (Debian's linux-perf). `--write` makes
// docs/performance/profiles.md.
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, release, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import type { Load, Measurement } from "./generator.ts";
import { preparePerf, PROFILED, startSampling } from "./perf.ts";
import { loopback } from "./places.ts";
import { profileRequests, requestSections } from "./profile-requests.ts";
import { type Profile, profileOf, profileTable } from "./profile-table.ts";
import { type Part, partOf, parts } from "./samples.ts";
import { scenarios } from "./scenarios.ts";
import { prepare, startSubject, type Subject, subjectNames } from "./subjects.ts";

const DEFAULT = "voice-256-up,voice-256-down,voice-32-up,voice-32-down,bursts-32-up,requests";
/** Beside the packets' scenarios: each kind of request, of those that take any. */
const REQUESTS = "requests";
const REQUESTED: readonly (typeof subjectNames)[number][] = ["coturn", "batched"];
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
const run = promisify(execFile);
const generator = fileURLToPath(new URL("generator.ts", import.meta.url));

preparePerf();
const { yardstick, blaster, coturnVersion } = prepare();
const place = loopback();
const folder = mkdtempSync(join(tmpdir(), "bench-profile-"));
const wanted = values.only.split(",");
const chosen = scenarios.filter(({ id }) => wanted.includes(id));
const known = [...scenarios.map(({ id }) => id), REQUESTS];
if (!wanted.some((id) => known.includes(id))) throw new Error(`There is no such scenario: ${known.join(", ")}`);
const sections: string[] = [];
const found = new Map(chosen.map(({ id }): [string, Profile<Part>[]] => [id, []]));
const requests: Awaited<ReturnType<typeof profileRequests>>[] = [];
const subjects = subjectNames.filter((each) => values.subjects.split(",").includes(each));
try {
  for (const name of chosen.length === 0 ? [] : subjects) {
    const subject = await startSubject(name, place.relay, yardstick, PROFILED);
    try {
      for (const { id, load } of chosen) found.get(id)?.push(await profile(subject, load));
    } finally {
      await subject.stop();
    }
  }
  // Of processes of their own: the packets' load leaves its allocations behind.
  for (const name of REQUESTED.filter((each) => wanted.includes(REQUESTS) && subjects.includes(each))) {
    const subject = await startSubject(name, place.relay, yardstick, PROFILED);
    try {
      requests.push(await profileRequests(subject, place.relay.ip, folder));
    } finally {
      await subject.stop();
    }
  }
} finally {
  rmSync(folder, { recursive: true });
}
for (const { id, title } of chosen)
  sections.push(`## ${title}`, "", ...profileTable("packet", parts, found.get(id) ?? []), "");
if (requests.length > 0) sections.push(...requestSections(requests));
console.log(sections.join("\n"));
if (values.write) {
  const lead = readFileSync(new URL("profiles.md", import.meta.url), "utf8").trimEnd();
  const machine = `${cpus()[0]?.model ?? "unknown processor"}, ${cpus().length} cores, Linux ${release()}`;
  const by = `${machine}; Node ${process.version}, coturn ${coturnVersion}; ${new Date().toISOString().slice(0, 10)}`;
  const page = `${lead}\n\n${by}\n\n${sections.join("\n").trimEnd()}\n`;
  writeFileSync(new URL("../../docs/performance/profiles.md", import.meta.url), page);
}

async function profile(subject: Subject, shape: (typeof chosen)[number]["load"]): Promise<Profile<Part>> {
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
  const sampling = await startSampling(subject.pid, FREQUENCY, join(folder, "packets.data"));
  await sleep(SAMPLED_SECONDS * 1000);
  const samples = await sampling.stop();
  const { stdout } = await loaded;
  const measured: Measurement = JSON.parse(stdout);
  const found = samples.map(({ frames }) => partOf(frames));
  return profileOf(subject.name, measured.cpuSecondsPerMillion, found);
}
