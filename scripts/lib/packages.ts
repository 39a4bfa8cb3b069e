import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { repositoryFiles, ROOT } from "./files.ts";

/** The folders of the packages that are published. */
export function publishedRooms(): readonly string[] {
  return repositoryFiles("packages/*/package.json")
    .filter((path) => parseRecord(readFileSync(ROOT + path, "utf8"))["private"] !== true)
    .map((path) => path.split("/")[1] ?? "");
}

/** What a package would be published without, or should be published without. */
export function misPacked(room: string): readonly string[] {
  const files = packedFiles(room);
  const needed = ["package.json", "README.md", "LICENSE", "dist/index.js", "dist/index.d.ts"];
  return [
    ...needed.filter((name) => !files.includes(name)).map((name) => `packages/${room}: ${name} would not be published`),
    ...files
      .filter((name) => /\.test\.|\.tsbuildinfo$|^(?:src|test)\//.test(name))
      .map((name) => `packages/${room}: ${name} would be published`),
  ];
}

function packedFiles(room: string): readonly string[] {
  const args = ["pack", "--dry-run", "--json", "--ignore-scripts", `--workspace=packages/${room}`];
  const { stdout, stderr, status } = spawnSync("npm", args, { cwd: ROOT, encoding: "utf8" });
  if (status !== 0) throw new Error(`npm pack failed for ${room}: ${stderr}`);
  const report: unknown = JSON.parse(stdout);
  const entry: unknown = Array.isArray(report) ? report[0] : undefined;
  const files = isRecord(entry) ? entry["files"] : undefined;
  if (!Array.isArray(files)) throw new Error(`npm pack named no files for ${room}`);
  return files.map((file: unknown) => (isRecord(file) ? String(file["path"]) : ""));
}

function parseRecord(json: string): Readonly<Record<string, unknown>> {
  const value: unknown = JSON.parse(json);
  return isRecord(value) ? value : {};
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}
