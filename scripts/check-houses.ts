/** Holds the packages against the house: imports point down its floors only, and pure rooms touch nothing of Node's. */
import { readFileSync } from "node:fs";
import { repositoryFiles, ROOT } from "./lib/files.ts";
import { report, type Finding } from "./lib/findings.ts";

/** The floor of each room. A room imports from lower floors only. */
const FLOORS: Readonly<Record<string, number>> = {
  stun: 1,
  dtls: 1,
  hints: 1,
  credentials: 1,
  xdp: 1,
  link: 1,
  turn: 2,
  authn: 2,
  client: 3,
  relay: 3,
  portal: 3,
  dashboard: 3,
  turnpike: 4,
};

/** Rooms that run in browsers: no Node modules, and none of Node's types. */
const PURE = ["stun", "turn", "credentials"];

/** Entries of pure rooms that are made for Node alone. */
const NODE_ENTRIES = ["packages/stun/src/node.ts"];

const findings: Finding[] = [];
const rooms = new Set(repositoryFiles("packages/*/package.json").map((path) => path.split("/")[1] ?? ""));
for (const room of rooms) {
  if (FLOORS[room] === undefined) {
    findings.push({
      where: `packages/${room}`,
      message: "has no floor in the house: add it to scripts/check-houses.ts",
    });
  }
  checkManifest(room);
}
const sources = repositoryFiles("packages/*/src/*.ts");
for (const path of sources) checkSource(path);
report(findings, `${rooms.size} rooms, ${sources.length} source files: every import points down`);

function checkManifest(room: string): void {
  const where = `packages/${room}/package.json`;
  const manifest: unknown = JSON.parse(readFileSync(ROOT + where, "utf8"));
  const dependencies = isRecord(manifest) && isRecord(manifest["dependencies"]) ? manifest["dependencies"] : {};
  for (const name of Object.keys(dependencies)) {
    const other = roomOf(name);
    if (other !== undefined) checkArrow(room, other, where);
  }
}

function checkSource(path: string): void {
  const room = path.split("/")[1] ?? "";
  const isTest = path.endsWith(".test.ts");
  for (const [index, line] of readFileSync(ROOT + path, "utf8")
    .split("\n")
    .entries()) {
    const where = `${path}:${index + 1}`;
    for (const name of importedNames(line)) {
      const other = roomOf(name);
      if (other !== undefined) checkArrow(room, other, where, { isTest });
      if (/^\.\.?\//.test(name) && !isTest && leavesRoom(path, name)) {
        findings.push({ where, message: `${name} leaves the room: import other rooms by their package names` });
      }
      if (name.startsWith("node:") && PURE.includes(room) && !isTest && !NODE_ENTRIES.includes(path)) {
        findings.push({ where, message: `${name} in a room that runs in browsers` });
      }
    }
  }
}

function checkArrow(from: string, to: string, where: string, options: { readonly isTest?: boolean } = {}): void {
  const above = FLOORS[from] ?? 0;
  const below = FLOORS[to] ?? Infinity;
  // A test may look sideways, to hold two rooms of a floor against each other; what is shipped may not.
  if (from !== to && (below > above || (below === above && options.isTest !== true))) {
    findings.push({ where, message: `${from} (floor ${above}) must not import ${to} (floor ${below})` });
  }
}

/** `@turnpike/stun/node` → `stun`. */
function roomOf(name: string): string | undefined {
  return name === "turnpike" ? "turnpike" : /^@turnpike\/([^/]+)/.exec(name)?.[1];
}

function importedNames(line: string): readonly string[] {
  if (/^\s*(?:\*|\/\/|\/\*)/.test(line)) return [];
  return [...line.matchAll(/(?:from|import)\s*\(?\s*["']([^"']+)["']/g)].map(([, name = ""]) => name);
}

function leavesRoom(path: string, name: string): boolean {
  const [, room] = path.split("/");
  return !new URL(name, `file:///${path}`).pathname.startsWith(`/packages/${room}/`);
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}
