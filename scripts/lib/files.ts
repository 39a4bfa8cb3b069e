import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** The root of the repository, with a slash at its end. */
export const ROOT: string = fileURLToPath(new URL("../../", import.meta.url));

/** Files that belong to the repository and are there, committed or not, from the root; `patterns` are Git's. */
export function repositoryFiles(...patterns: readonly string[]): readonly string[] {
  const list = execFileSync(
    "git",
    ["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", ...patterns],
    { cwd: ROOT, encoding: "utf8", maxBuffer: 64 * 1024 * 1024 },
  );
  return [...new Set(list.split("\0"))]
    .filter((file) => file !== "" && existsSync(ROOT + file))
    .toSorted((a, b) => (a < b ? -1 : 1));
}
