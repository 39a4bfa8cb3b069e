/** What systemd is told of a service of Type=notify (sd_notify(3)), over a real socket. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { type Child, startChild } from "../support/child.ts";
import { NotifyListener } from "../support/notify-listener.ts";
import { keep } from "../support/relay.ts";

const folder = mkdtempSync(join(tmpdir(), "turnpike-notify-"));
afterAll(() => rmSync(folder, { recursive: true }));

const RELAY = [
  "relay",
  "--listen=udp:127.0.0.1:0",
  "--relay-address=127.0.0.1",
  "--drain-timeout=7",
  "--metrics=off",
  "--health=off",
];

function start(args: readonly string[], environment: Readonly<Record<string, string>>): Child {
  const child = startChild({ command: "turnpike", args, cwd: folder, environment });
  keep({
    async [Symbol.asyncDispose]() {
      child.signal("SIGKILL");
      await child.ended;
    },
  });
  return child;
}

describe("a service manager", () => {
  it.each([
    ["a path", join(folder, "notify")],
    ["an abstract name", `@turnpike-test-${process.pid}`],
  ])("is told by %s when the relay serves, reloads, lives and ends", async (_, path) => {
    await using manager = new NotifyListener(path);
    const child = start(RELAY, { NOTIFY_SOCKET: path, WATCHDOG_USEC: "200000" });
    await manager.waitFor(/^READY=1\n/);
    expect(child.stderr()).toContain("The relay is serving");
    const alive = manager.told.length;
    await manager.waitFor(/^WATCHDOG=1$/, { from: alive });

    const before = manager.told.length;
    child.signal("SIGHUP");
    await manager.waitFor(/^READY=1\n/, { from: before });
    const states = manager.told.slice(before).filter((text) => text !== "WATCHDOG=1");
    expect(states).toEqual([
      expect.stringMatching(/^RELOADING=1\nMONOTONIC_USEC=\d+\n/),
      expect.stringMatching(/^READY=1\n/),
    ]);

    child.signal("SIGTERM");
    expect(await child.ended).toBe(0);
    const last = manager.told.findLast((text) => text !== "WATCHDOG=1");
    expect(last).toMatch(/^STOPPING=1\n[^]*EXTEND_TIMEOUT_USEC=37000000$/);
  });

  it("is told when a portal serves and ends", async () => {
    await using manager = new NotifyListener(join(folder, "portal"));
    const args = ["portal", "--portal-listen=127.0.0.1:0", `--data-dir=${folder}`];
    const child = start(args, { NOTIFY_SOCKET: manager.path });
    await manager.waitFor(/^READY=1\n/);
    child.signal("SIGTERM");
    expect(await child.ended).toBe(0);
    expect(manager.told.at(-1)).toMatch(/^STOPPING=1\n/);
  });

  it("is told by systemd-notify where no system call can be made", async () => {
    // In place of the program: it writes down what it is given.
    const log = join(folder, "told");
    const program = join(folder, "systemd-notify");
    writeFileSync(program, `#!/bin/sh\necho "$NOTIFY_SOCKET $*" >> "${log}"\n`);
    chmodSync(program, 0o755);
    writeFileSync(log, "");
    // A path that no socket can have stands for a machine on which the libraries are missing.
    const NOTIFY_SOCKET = `/${"x".repeat(120)}`;
    const PATH = [folder, process.env["PATH"]].join(delimiter);
    const child = start([...RELAY, "--log-level=debug"], { NOTIFY_SOCKET, PATH });
    await child.waitFor((it) => it.stderr().includes("The relay is serving"), 60_000);
    child.signal("SIGHUP");
    await child.waitFor((it) => it.stderr().includes("The configuration was reloaded"), 60_000);
    child.signal("SIGTERM");
    expect(await child.ended).toBe(0);
    const told = readFileSync(log, "utf8").trim().split("\n");
    expect(told.map((line) => line.replace(`${NOTIFY_SOCKET} `, "").split(" ")[0])).toEqual([
      "READY=1",
      "RELOADING=1",
      "READY=1",
      "STOPPING=1",
    ]);
  });

  it("is not missed by a process that none has started", async () => {
    const child = start(RELAY, { NOTIFY_SOCKET: "" });
    await child.waitFor((it) => it.stderr().includes("The relay is serving"), 60_000);
    child.signal("SIGTERM");
    expect(await child.ended).toBe(0);
    expect(child.stderr()).not.toContain("service manager");
  });
});
