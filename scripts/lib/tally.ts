import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "./files.ts";

/** Counts what passed and failed over several steps, and closes with one line that says so. */
export class Tally {
  #passed = 0;
  #failed = 0;

  /** Runs a program as one check. */
  run(name: string, command: string, args: readonly string[]): boolean {
    heading(name);
    const isGood = execute(command, args);
    this.count(name, isGood);
    return isGood;
  }

  /** Counts one check whose outcome is known. */
  count(name: string, isGood: boolean): void {
    if (isGood) this.#passed++;
    else this.#failed++;
    if (!isGood) console.log(`FAILED: ${name}`);
  }

  /** Runs Vitest's projects and counts their tests. A skipped test counts as failed: it proved nothing. */
  runVitest(projects: readonly string[]): void {
    const name = `vitest ${projects.join(", ")}`;
    heading(name);
    const folder = mkdtempSync(join(tmpdir(), "turnpike-test-"));
    const file = join(folder, "result.json");
    try {
      const isGood = execute("vitest", [
        "run",
        ...projects.map((project) => `--project=${project}`),
        "--reporter=default",
        "--reporter=json",
        `--outputFile.json=${file}`,
      ]);
      const { passed, failed } = readResult(file);
      this.#passed += passed;
      this.#failed += failed;
      // A file that could not be loaded, or an error between tests, is in no test's count.
      if (passed + failed === 0 || (!isGood && failed === 0)) this.count(name, false);
    } finally {
      rmSync(folder, { recursive: true });
    }
  }

  /** Prints `N passed, N failed` as the last line and sets the exit code. */
  close(): void {
    console.log(`\n${this.#passed} passed, ${this.#failed} failed`);
    process.exitCode = this.#failed === 0 && this.#passed > 0 ? 0 : 1;
  }
}

function heading(name: string): void {
  console.log(`\n== ${name}`);
}

function execute(command: string, args: readonly string[]): boolean {
  // npm puts node_modules/.bin first in PATH, so that names are those of the pinned tools.
  const { status, error } = spawnSync(command, args, { cwd: ROOT, stdio: "inherit" });
  if (error !== undefined) console.error(`${command}: ${error.message}`);
  return status === 0;
}

function readResult(file: string): { readonly passed: number; readonly failed: number } {
  let result: unknown;
  try {
    result = JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return { passed: 0, failed: 0 };
  }
  const numberOf = (key: string): number => {
    const value: unknown = typeof result === "object" && result !== null ? Reflect.get(result, key) : undefined;
    return typeof value === "number" ? value : 0;
  };
  const passed = numberOf("numPassedTests");
  return { passed, failed: numberOf("numTotalTests") - passed };
}
