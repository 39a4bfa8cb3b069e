/**
 * What a command loads: a start takes as long as its modules, and what is loaded for nothing stays in memory. Whoever adds
 * an import that breaks these bounds can load it where it is used, by `await import()`.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { ROOT, type Child, runChild, startChild } from "../support/child.ts";
import { freePorts } from "../support/free-ports.ts";

const folder = mkdtempSync(join(tmpdir(), "turnpike-loaded-"));
afterAll(() => rmSync(folder, { recursive: true }));

const START_MS = 60_000;
const RELAY = ["relay", "--relay-address=127.0.0.1", "--user=u:p", "--health=off", "--plane=batched", "--threads=2"];

function noting(args: readonly string[]) {
  const notes = mkdtempSync(join(folder, "notes-"));
  const command = {
    command: "node",
    args: [`--import=${ROOT}test/support/note-modules.ts`, `${ROOT}packages/turnpike/bin/turnpike.js`, ...args],
    cwd: folder,
    environment: { NOTED_MODULES: notes },
  };
  return { notes, command };
}

/** The modules that the threads of a process have loaded, Node's own left out; the main thread's come first. */
function noted(notes: string): readonly (readonly string[])[] {
  return readdirSync(notes)
    .toSorted((a, b) => Number(a) - Number(b))
    .map((thread) =>
      readFileSync(join(notes, thread), "utf8")
        .split("\n")
        .filter((url) => url.startsWith("file:")),
    );
}

async function startRelay(args: readonly string[]): Promise<{ readonly child: Child; readonly notes: string }> {
  const { notes, command } = noting([...RELAY, ...args]);
  const child = startChild(command);
  await child.waitFor((it) => it.stderr().includes("The relay is serving"), START_MS);
  return { child, notes };
}

/** A package by its name, or a room by its folder. */
function isOf(...names: readonly string[]): (url: string) => boolean {
  return (url) => names.some((name) => url.includes(`/node_modules/${name}`) || url.includes(`/packages/${name}/`));
}

const NOT_A_RELAYS = isOf(
  "@fastify",
  "@grpc",
  "@opentelemetry",
  "@redis",
  "bcryptjs",
  "fastify",
  "jose",
  "kysely",
  "ldapts",
  "pg",
  "portal",
  "socks",
  "structured-headers",
  "xdp",
);

it("a relay alone loads no portal, telemetry, database or identity provider, and its reactors only what relays", async () => {
  const { child, notes } = await startRelay(["--listen=udp:127.0.0.1:0", "--listen=tcp:127.0.0.1:0", "--metrics=off"]);
  expect(await child.stop()).toBe(0);
  const [main = [], ...reactors] = noted(notes);
  expect(main.filter(NOT_A_RELAYS)).toEqual([]);
  // The hooks see what there is to see.
  expect(main.some((url) => url.endsWith("/relay/dist/batched-relay.js"))).toBe(true);
  expect(main.length).toBeLessThan(500);
  expect(reactors).toHaveLength(2);
  for (const reactor of reactors) {
    expect(reactor.filter(isOf("client", "hints", "link", "pino", "portal", "ws", "xdp", "zod"))).toEqual([]);
    expect(reactor.some((url) => url.endsWith("/reactor-worker/worker.js"))).toBe(true);
    expect(reactor.length).toBeLessThan(200);
  }
});

it("loads OpenTelemetry when somebody scrapes, who is told everything since the start", async () => {
  const port = await freePorts(1);
  const { child, notes } = await startRelay(["--listen=udp:127.0.0.1:0", `--metrics=127.0.0.1:${port}`]);
  const isTelemetry = isOf("@opentelemetry");
  expect(noted(notes).flat().filter(isTelemetry)).toEqual([]);
  expect((await fetch(`http://127.0.0.1:${port}/`)).status).toBe(404);
  expect(noted(notes).flat().filter(isTelemetry)).toEqual([]);
  // The first two at a time.
  const [first, second] = await Promise.all(
    [1, 2].map(async () => (await fetch(`http://127.0.0.1:${port}/metrics`)).text()),
  );
  for (const text of [first, second]) {
    expect(text).toContain("turnpike_relay_allocations 0");
    expect(text).toContain('service_name="relay"');
  }
  expect(noted(notes).flat().some(isTelemetry)).toBe(true);
  expect(await child.stop()).toBe(0);
});

it.each([
  { args: ["--help"], files: 30, none: isOf("zod", "relay", "stun") },
  { args: ["config", "print"], files: 300, none: isOf("ws", "portal", "pino", "koffi") },
  { args: ["relay", "--help"], files: 300, none: isOf("ws", "portal", "pino", "koffi") },
])("$args loads at most $files files", async ({ args, files, none }) => {
  const { notes, command } = noting(args);
  expect(await runChild({ ...command, timeoutMs: START_MS })).toMatchObject({ code: 0 });
  const loaded = noted(notes).flat();
  expect(loaded.filter(none)).toEqual([]);
  expect(loaded.length).toBeLessThan(files);
});
