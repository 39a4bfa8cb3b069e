/** The units that ship, as systemd's own checkers judge them. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ROOT } from "../support/child.ts";
import { ensureDebianPackages } from "./support/debian.ts";

const folder = mkdtempSync(join(tmpdir(), "turnpike-units-"));
afterAll(() => rmSync(folder, { recursive: true }));
beforeAll(() => ensureDebianPackages({ packages: ["systemd"], commands: ["systemd-analyze"] }));

/** What systemd-analyze says; the higher the exposure in tenths, the worse. */
const HIGHEST_EXPOSURE = 20;

describe.each(["turnpike-relay.service", "turnpike-portal.service"])("%s", (name) => {
  const text = readFileSync(`${ROOT}deploy/systemd/${name}`, "utf8");
  // Nothing is installed here: the checker wants a program that is there.
  const unit = join(folder, name);
  writeFileSync(unit, text.replace(/^ExecStart=\S+/m, "ExecStart=/bin/true"));
  const analyze = (...args: readonly string[]) => spawnSync("systemd-analyze", [...args, unit], { encoding: "utf8" });

  it("is well formed", () => {
    const { status, stdout, stderr } = analyze("verify");
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: "", stderr: "" });
  });

  it("exposes little", () => {
    const args = ["security", "--offline=true", "--no-pager", `--threshold=${HIGHEST_EXPOSURE}`];
    const { status, stdout } = analyze(...args);
    expect(status, stdout).toBe(0);
    expect(stdout).toContain("Overall exposure level");
  });

  it("is notified, watched and reloaded", () => {
    for (const line of ["Type=notify", "WatchdogSec=30s", "ExecReload=/bin/kill -HUP $MAINPID", "DynamicUser=yes"]) {
      expect(text.split("\n")).toContain(line);
    }
  });
});
