// `npm run bench:events -- [--rounds N] [--write]`: what events, quotas and limits cost. Some three minutes on a machine that does nothing else; `--write` makes
// docs/performance/events.md.
import { writeFileSync } from "node:fs";
import { cpus, release } from "node:os";
import { parseArgs } from "node:util";
import { type EngineRow, measureEngine } from "./engine.ts";
import { type Kind, measureRelays, type RelayRow } from "./relay.ts";

const { values } = parseArgs({
  options: { rounds: { type: "string", default: "7" }, write: { type: "boolean", default: false } },
});
if (cpus().length < 2) throw new Error("Two cores are needed: one for the relay, one for the load");

const NAMES: Readonly<Record<Kind, string>> = {
  bare: "bare: no events, no admission",
  none: "none listening",
  limits: "quotas and limits, none listening",
  outlets: "every outlet",
};
const relays = await measureRelays(Number(values.rounds));
const engine = await measureEngine();
const page = pageOf();
if (values.write) writeFileSync(new URL("../../docs/performance/events.md", import.meta.url), page);
console.log(page);
const none = relays.find(({ kind }) => kind === "none");
const least = Math.min(...Object.values(none?.packetRatio ?? {}));
console.log(
  `Packets for a second of CPU with none listening, against a bare relay: ${least.toFixed(3)}, of 0.97 wanted`,
);

function pageOf(): string {
  return [
    "# What events and limits cost",
    "",
    "Measured by `npm run bench:events`, which writes this page (`-- --write`). Figures of one machine and one day; the ratios",
    "are what counts.",
    "",
    `- ${cpus()[0]?.model ?? "unknown processor"}, ${cpus().length} cores, Linux ${release()}; Node ${process.version}; ${new Date().toISOString().slice(0, 10)}`,
    "",
    "## A whole relay",
    "",
    `Batched plane, one reactor on one core, the load on the other, in turns (A B C D, D C B A …): medians of ${values.rounds} rounds.`,
    "Packets are voice, 32 flows of 172 bytes. A session is Allocate, ChannelBind and Refresh to zero: eight events. Ratios are",
    "of CPU time for a packet or a session, each against the bare relay of the same round: what a full core can carry.",
    "",
    "- `bare` is the plane and an engine that can't tell events, on one thread: no admission, quotas, limits, bans, administration.",
    "- `none listening` is a relay as `startRelay` makes it by default.",
    "- `quotas and limits` has quotas of users, prefixes and all, rates of allocations, users and all, and rates by source.",
    "- `every outlet` has a handler for each type, `onEvent`, a stream with a reader, a JSON line for each event, a subscriber to",
    "  each diagnostics channel, and a traffic report of each allocation every second.",
    "",
    "| relay | kpps to peers | CPU s/Mpkt | ratio | kpps to clients | CPU s/Mpkt | ratio | CPU µs/session | ratio |",
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ...relays.map((row) => `| ${relayCells(row).join(" | ")} |`),
    "",
    "A packet makes no event: relaying costs the same whoever listens. With quotas and limits, what a session costs beside a bare",
    "one is its way over the main thread, which admits it; with every outlet mostly JSON for the log.",
    "",
    "## The engine alone",
    "",
    "Without sockets and system calls, the best of 12 rounds. Packets are ChannelData of 172 bytes.",
    "",
    "| outlets | sessions/s | ratio | packets/s | ratio |",
    "| --- | ---: | ---: | ---: | ---: |",
    ...engine.map((row) => `| ${engineCells(row).join(" | ")} |`),
    "",
    "## What a limit holds",
    "",
    "A limit of 1 MB/s with a burst of 0.1 s, over sockets of the portable plane for 10 s, with 2 MB/s offered each way: 10.097 MB",
    "out and 10.097 MB in (1 % above, which is the burst), while another user's unlimited flow lost nothing of its 2 MB/s each way",
    "(`test/interop/bandwidth.test.ts`).",
    "",
  ].join("\n");
}

function relayCells({ kind, kpps, cpuSecondsPerMillion, packetRatio, sessionUs, sessionRatio }: RelayRow): string[] {
  const ofDirection = (direction: "to peer" | "to client"): string[] => [
    kpps[direction].toFixed(0),
    cpuSecondsPerMillion[direction].toFixed(2),
    packetRatio[direction].toFixed(3),
  ];
  return [
    NAMES[kind],
    ...ofDirection("to peer"),
    ...ofDirection("to client"),
    sessionUs.toFixed(0),
    sessionRatio.toFixed(3),
  ];
}

function engineCells({ name, sessionsPerSecond, packetsPerSecond }: EngineRow): string[] {
  const [base] = engine;
  return [
    name,
    Math.round(sessionsPerSecond).toLocaleString("en"),
    (sessionsPerSecond / (base?.sessionsPerSecond ?? 1)).toFixed(3),
    `${(packetsPerSecond / 1e6).toFixed(2)} M`,
    (packetsPerSecond / (base?.packetsPerSecond ?? 1)).toFixed(3),
  ];
}
