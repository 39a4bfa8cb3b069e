// Look-up and eviction of the cache's queue, beside a Map that is sorted for each eviction: npm run bench:auth-cache.
// With --write the table goes to docs/performance/auth-cache.md too.
import { writeFile } from "node:fs/promises";
import { cpus } from "node:os";
import {
  BoundedPriorityQueue,
  CachedVerifier,
  CredentialCache,
  type CredentialVerifier,
  OperationContext,
  ScryptDigester,
  Secret,
} from "@turnpike/authn";

const ENTRIES = 10_000;
const OPERATIONS = 1_000_000;
/** One eviction of the baseline takes milliseconds: it makes fewer, and the figure is per operation. */
const BASELINE_EVICTIONS = 300;
const DIGESTS = 101;

interface Row {
  readonly what: string;
  readonly operations: number;
  readonly seconds: number;
  /** Default: the mean. */
  readonly eachSeconds?: number;
}

/** What one would write without a queue: evicting sorts. */
class SortedMap {
  readonly #map = new Map<string, number>();

  get(key: string): number | undefined {
    return this.#map.get(key);
  }

  set(key: string, priority: number): void {
    if (!this.#map.has(key) && this.#map.size >= ENTRIES) {
      const [first] = [...this.#map].toSorted(([, a], [, b]) => a - b);
      if (first !== undefined) this.#map.delete(first[0]);
    }
    this.#map.set(key, priority);
  }
}

/** The same numbers on each run (mulberry32). */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const KEYS: readonly string[] = Array.from(
  { length: ENTRIES + OPERATIONS },
  (_, i) => `4:ldap0:${String(i).length}:${i}`,
);

function time(what: string, operations: number, work: (i: number) => void): Row {
  const start = performance.now();
  for (let i = 0; i < operations; i++) work(i);
  return { what, operations, seconds: (performance.now() - start) / 1000 };
}

function keyAt(index: number): string {
  return KEYS[index] ?? "";
}

function measureQueue(): readonly Row[] {
  const random = generator(1);
  const queue = new BoundedPriorityQueue<string, number>({ capacity: ENTRIES });
  for (let i = 0; i < ENTRIES; i++) queue.set(keyAt(i), i, random());
  let found = 0;
  const lookUp = time("queue: look-up", OPERATIONS, () => {
    if (queue.get(keyAt(Math.floor(random() * ENTRIES))) !== undefined) found++;
  });
  const evict = time("queue: insert, evicting the soonest", OPERATIONS, (i) => {
    if (queue.set(keyAt(ENTRIES + i), i, i + random() * ENTRIES) !== undefined) found++;
  });
  if (found !== 2 * OPERATIONS || queue.size !== ENTRIES) throw new Error("the queue lost or kept too much");
  return [lookUp, evict];
}

function measureBaseline(): readonly Row[] {
  const random = generator(1);
  const map = new SortedMap();
  for (let i = 0; i < ENTRIES; i++) map.set(keyAt(i), random());
  let found = 0;
  const lookUp = time("Map: look-up", OPERATIONS, () => {
    if (map.get(keyAt(Math.floor(random() * ENTRIES))) !== undefined) found++;
  });
  if (found !== OPERATIONS) throw new Error("the baseline lost entries");
  const evict = time("Map and sort: insert, evicting the soonest", BASELINE_EVICTIONS, (i) => {
    map.set(keyAt(ENTRIES + i), i + random() * ENTRIES);
  });
  return [lookUp, evict];
}

async function measureHits(): Promise<readonly Row[]> {
  const ctx = OperationContext.internal("bench");
  const digester = new ScryptDigester();
  const [password, salt] = [new Secret("correct horse battery staple"), digester.salt()];
  const verifier: CredentialVerifier = {
    provider: "bench",
    verify: async () => ({ kind: "verified", subject: "ann", groups: [], roles: [] }),
  };
  const cached = new CachedVerifier({ verifier, cache: new CredentialCache({ enabled: true, digester }) });
  const login = async (): Promise<void> => {
    const result = await cached.verify(ctx, { username: "ann", password });
    if (result.kind !== "verified") throw new Error("a sign-in failed");
  };
  await login();
  const works = [
    { what: "digest alone (scrypt, N = 4096), median", work: async () => void (await digester.digest(password, salt)) },
    { what: "cached sign-in, its digest included, median", work: login },
  ].map((measured) => ({ ...measured, times: [] as number[] }));
  // In turn, so that what else the machine does strikes both.
  for (let i = 0; i < DIGESTS; i++) {
    for (const { work, times } of works) {
      const start = performance.now();
      await work();
      times.push((performance.now() - start) / 1000);
    }
  }
  return works.map(({ what, times }) => ({
    what,
    operations: DIGESTS,
    seconds: times.reduce((sum, seconds) => sum + seconds, 0),
    eachSeconds: times.toSorted((x, y) => x - y)[DIGESTS >> 1] ?? Number.NaN,
  }));
}

function table(rows: readonly Row[]): string {
  const lines = rows.map(({ what, operations, seconds, eachSeconds = seconds / operations }) => {
    const each = eachSeconds * 1e6;
    const shown = each < 1000 ? `${each.toFixed(3)} µs` : `${(each / 1000).toFixed(2)} ms`;
    return `| ${what} | ${operations.toLocaleString("en")} | ${seconds.toFixed(2)} s | ${shown} |`;
  });
  return ["| operation | how many | together | each |", "| --- | ---: | ---: | ---: |", ...lines].join("\n");
}

const rows = [...measureQueue(), ...measureBaseline(), ...(await measureHits())];
const evictions = rows
  .filter(({ what }) => what.includes("evicting"))
  .map(({ seconds, operations }) => seconds / operations);
const ratio = (evictions[1] ?? Number.NaN) / (evictions[0] ?? Number.NaN);
const text = `${table(rows)}

With ${ENTRIES.toLocaleString("en")} entries an eviction by the queue is ${Math.round(ratio).toLocaleString("en")} times as fast as by sorting.
`;
console.log(text);
if (process.argv.includes("--write")) {
  const machine = `Node ${process.versions.node}, ${cpus().length} × ${cpus()[0]?.model.trim() ?? "unknown processor"}`;
  const page = `# The credential cache

Made by \`npm run bench:auth-cache -- --write\` on ${machine}.

The cache's bounded priority queue (an index beside a binary heap) with ${ENTRIES.toLocaleString("en")} entries, beside a plain \`Map\` whose entries
are sorted by expiry whenever one has to leave. What a cached sign-in costs is its digest.

${text}`;
  await writeFile(new URL("../docs/performance/auth-cache.md", import.meta.url), page);
}
