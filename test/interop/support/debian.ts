import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";

/** Packages, and what shows that they are there: their commands, or lines that Debian's own Python can run. */
export interface DebianPackages {
  readonly packages: readonly string[];
  readonly commands?: readonly string[];
  readonly python?: string;
}

/** Debian's own Python, whatever other is found first. */
export const PYTHON = "/usr/bin/python3";

/** Installs Debian packages unless they are there. Throws if it cannot: a peer test never skips. */
export function ensureDebianPackages(options: DebianPackages): void {
  const { commands = [], python = "" } = options;
  const hasCommands = commands.every((command) => spawnSync("which", [command]).status === 0);
  if (hasCommands && (python === "" || spawnSync(PYTHON, ["-c", python]).status === 0)) return;
  withoutServices(() => {
    const flags = ["-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"];
    run("apt-get", ["update", "-o", "DPkg::Lock::Timeout=300"]);
    run("apt-get", ["install", ...flags, ...options.packages]);
  });
}

/** A package's daemon must not start by itself: tests run their own, with their own configuration. */
function withoutServices(work: () => void): void {
  const policy = "/usr/sbin/policy-rc.d";
  const before = existsSync(policy) ? readFileSync(policy) : undefined;
  writeFileSync(policy, "#!/bin/sh\nexit 101\n", { mode: 0o755 });
  try {
    work();
  } finally {
    if (before === undefined) rmSync(policy, { force: true });
    else writeFileSync(policy, before, { mode: 0o755 });
  }
}

function run(command: string, args: readonly string[]): void {
  const { status, stderr } = spawnSync(command, args, {
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")} failed: ${stderr}`);
}
