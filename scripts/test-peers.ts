/**
 * `npm run test:peers`: us against programs that others made. Installs the Debian packages that are missing; what can't
 * be had is a failure, not a reason to skip. The last line is `N passed, N failed`.
 */
import { spawnSync } from "node:child_process";
import { Tally } from "./lib/tally.ts";

/** Packages and a program of each that shows that it is there. */
const PACKAGES = [
  { name: "coturn", program: "turnutils_uclient" },
  { name: "redis-server", program: "redis-server" },
  { name: "fail2ban", program: "fail2ban-regex" },
  { name: "chromium", program: "chromium" },
  { name: "slapd", program: "slapd" },
] as const;

const tally = new Tally();
const missing = PACKAGES.filter(({ program }) => !isInstalled(program));
if (missing.length > 0) install(missing.map(({ name }) => name));
for (const { name, program } of PACKAGES) tally.count(`${name} is installed`, isInstalled(program));
tally.run("npm run build", "npm", ["run", "--silent", "build"]);
tally.runVitest(["peers"]);
tally.close();

function isInstalled(program: string): boolean {
  // Servers stand where only the path of root leads.
  const path = `${process.env["PATH"] ?? ""}:/usr/local/sbin:/usr/sbin:/sbin`;
  return spawnSync("which", [program], { env: { ...process.env, PATH: path } }).status === 0;
}

function install(names: readonly string[]): void {
  // Another apt-get may be at work: wait for its lock.
  const options = ["-y", "-o", "DPkg::Lock::Timeout=300"];
  const environment = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const run = (args: readonly string[]): boolean =>
    spawnSync("apt-get", args, { stdio: "inherit", env: environment }).status === 0;
  const isInstalledNow = (): boolean => run(["install", ...options, "--no-install-recommends", ...names]);
  // The list of packages may be missing or old: fetch it, then try once more.
  if (!isInstalledNow() && run(["update", ...options])) isInstalledNow();
}
