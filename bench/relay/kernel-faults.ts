import { setTimeout as sleep } from "node:timers/promises";
import { BpfObjects } from "./bpf-objects.ts";
import { FaultPlace, nowMs, type Stream } from "./fault-place.ts";
import type { Arrivals } from "./fault-stream.ts";
import { run } from "./kernel-place.ts";

/** What goes wrong around the kernel plane, or is ordered of it. */
export const faultNames = [
  "expiry",
  "kill-user",
  "reload",
  "kill-9",
  "detach",
  "neighbour-deleted",
  "neighbour-moved",
  "map-full",
] as const;
export type FaultName = (typeof faultNames)[number];

/** One figure of a fault, over all repeats. */
export interface FaultRow {
  readonly fault: FaultName;
  readonly what: string;
  readonly unit: "ms" | "packets";
  readonly values: readonly number[];
}

/** What is measured, by its name, in the order of the report. */
type Figures = Readonly<Record<string, { readonly value: number; readonly unit: FaultRow["unit"] }>>;

const STEADY_MS = 500;
/** Streams are looked at until they have been silent, or carried, for so long. */
const SETTLED_MS = 1000;
const LONGEST_MS = 30_000;
const CHANNEL_SECONDS = 2;

const FAULTS: Readonly<Record<FaultName, (place: FaultPlace) => Promise<Figures>>> = {
  async expiry(place) {
    await place.startBare({ channelSeconds: CHANNEL_SECONDS });
    const stream = await place.startStream();
    const endMs = (await stream.bound()) + CHANNEL_SECONDS * 1000;
    await sleep(CHANNEL_SECONDS * 1000);
    return { "last packet": ms((await lastPacket(stream)) - endMs) };
  },
  async "kill-user"(place) {
    const stream = await relaying(place);
    const orderMs = nowMs();
    await place.ask("DELETE", "/v1/users/u/allocations");
    return { "last packet": ms((await lastPacket(stream)) - orderMs) };
  },
  async reload(place) {
    const stream = await relaying(place);
    place.denyPeers();
    const orderMs = nowMs();
    place.relay.kill("SIGHUP");
    return { "last packet": ms((await lastPacket(stream)) - orderMs) };
  },
  async "kill-9"(place) {
    const stream = await relaying(place);
    const { interfaces, maps } = await place.status();
    const objects = new BpfObjects();
    const programs = interfaces.map(({ program }) => program);
    const links = programs.flatMap((program) => objects.linksOf(program));
    if (links.length === 0) throw new Error("The relay's program has no link");
    const isLeft = (): boolean =>
      programs.some((id) => objects.exists("program", id)) ||
      maps.some(({ id }) => objects.exists("map", id)) ||
      links.some((id) => objects.exists("link", id));
    if (!isLeft()) throw new Error("The relay's program is not known to the kernel");
    const orderMs = nowMs();
    place.relay.kill("SIGKILL");
    while (isLeft() && nowMs() < orderMs + LONGEST_MS) await sleep(0);
    const goneMs = nowMs();
    return {
      "last packet": ms((await lastPacket(stream)) - orderMs),
      "no program, link or map left": ms(goneMs - orderMs),
    };
  },
  async detach(place) {
    const stream = await relaying(place);
    const objects = new BpfObjects();
    const program = (await place.status()).interfaces[0]?.program ?? 0;
    const [link = 0] = objects.linksOf(program);
    return interruption(stream, () => objects.detach(link));
  },
  async "neighbour-deleted"(place) {
    const stream = await relaying(place);
    const { ip } = place.path.generator;
    return interruption(stream, () => run(place.path.relay.enter, "ip", "neighbour", "delete", ip, "dev", "veth0"));
  },
  async "neighbour-moved"(place) {
    const stream = await relaying(place);
    const to = ["address", "02:00:00:00:12:34"];
    return interruption(stream, () => run(place.path.generator.enter, "ip", "link", "set", "veth0", ...to));
  },
  async "map-full"(place) {
    await place.startBare({ maxChannels: 1 });
    await place.startStream();
    const stream = await place.startStream();
    const boundMs = await stream.bound();
    await sleep(SETTLED_MS);
    const { toPeer, toClient } = await stream.take();
    const first = Math.max(...[toPeer, toClient].map((each) => each[0]?.[1] ?? Infinity));
    return { "first packet through the sockets": ms(first - boundMs), ...lost([toPeer, toClient], 0) };
  },
};

/** Has a fault happen so often, each time to a relay and a stream of its own. */
export async function timeFault(fault: FaultName, repeats: number): Promise<readonly FaultRow[]> {
  const rows = new Map<string, FaultRow & { readonly values: number[] }>();
  for (let repeat = 0; repeat < repeats; repeat++) {
    const place = new FaultPlace();
    try {
      for (const [what, { value, unit }] of Object.entries(await FAULTS[fault](place))) {
        const row = rows.get(what) ?? { fault, what, unit, values: [] };
        rows.set(what, row);
        row.values.push(value);
      }
    } finally {
      await place.close();
    }
  }
  return [...rows.values()];
}

/** A stream that the kernel relays, and has for a while. */
async function relaying(place: FaultPlace): Promise<Stream> {
  await place.startCommand();
  const stream = await place.startStream();
  await place.takesKernel();
  await sleep(STEADY_MS);
  await stream.take();
  return stream;
}

/** When the last packet arrived, either way, of a stream that stops. */
async function lastPacket(stream: Stream): Promise<number> {
  let last = 0;
  for (const until = nowMs() + LONGEST_MS; nowMs() < until;) {
    await sleep(SETTLED_MS / 2);
    const { toPeer, toClient } = await stream.take();
    last = Math.max(last, ...[...toPeer, ...toClient].map(([, atMs]) => atMs));
    if (nowMs() - last > SETTLED_MS) return last;
  }
  throw new Error("The stream doesn't stop");
}

/** The longest silence, either way, of a stream that goes on, and what was lost. */
async function interruption(stream: Stream, order: () => unknown): Promise<Figures> {
  const orderMs = nowMs();
  order();
  const ways: [number, number][][] = [[], []];
  for (const until = nowMs() + LONGEST_MS; nowMs() < until;) {
    await sleep(SETTLED_MS);
    const { toPeer, toClient } = await stream.take();
    for (const [index, packets] of [toPeer, toClient].entries()) {
      for (const [number, atMs] of packets) ways[index]?.push([number, atMs]);
    }
    const flowing = nowMs() - orderMs > 2 * SETTLED_MS && Math.min(toPeer.length, toClient.length) > STEADY_MS / 2;
    if (!flowing) continue;
    const gaps = ways.flatMap((way) => way.slice(1).map(([, atMs], index) => atMs - (way[index]?.[1] ?? atMs)));
    return { "longest silence": ms(Math.max(...gaps)), ...lost(ways, undefined) };
  }
  throw new Error("The stream doesn't go on");
}

/** Packets that are missing between the first and the last that arrived; `first` is the number that it began with. */
function lost(ways: readonly Arrivals["toPeer"][], first: number | undefined): Figures {
  const missing = ways.map((way) => {
    const numbers = new Set(way.map(([number]) => number));
    const begin = first ?? Math.min(...numbers);
    return Math.max(...numbers) - begin + 1 - numbers.size;
  });
  return { "packets lost, both ways": { value: missing.reduce((sum, each) => sum + each, 0), unit: "packets" } };
}

function ms(value: number): Figures[string] {
  return { value, unit: "ms" };
}
