/** `turnpike ctl` as somebody types it, beside a relay in a process of its own, on the plane that this machine can have. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseTransportAddress } from "@turnpike/stun";
import { afterAll, expect, test } from "vitest";
import { type Child, runChild, startChild } from "../support/child.ts";
import { ALICE, keep } from "../support/relay.ts";
import { UdpTurnClient } from "../support/udp-turn-client.ts";

const folder = mkdtempSync(join(tmpdir(), "turnpike-ctl-command-"));
afterAll(() => rmSync(folder, { recursive: true }));
const START_MS = 60_000;

function start(args: readonly string[]): Child {
  const child = startChild({ command: "turnpike", args, cwd: folder });
  keep({
    async [Symbol.asyncDispose]() {
      child.signal("SIGKILL");
      await child.ended;
    },
  });
  return child;
}

test("allocations, events, ban, kill-user, drain, for people and for programs", { timeout: 120_000 }, async () => {
  const socket = join(folder, "relay.sock");
  const relay = start([
    "relay",
    "--listen=udp:127.0.0.1:0",
    "--relay-address=127.0.0.1",
    "--user=Alice:wonderland",
    `--control-socket=${socket}`,
    "--metrics=off",
    "--health=off",
    "--log-format=json",
  ]);
  await relay.waitFor((each) => each.stderr().includes("The control socket is open"), START_MS);
  const server = parseTransportAddress(/"udp:(127\.0\.0\.1:\d+)"/.exec(relay.stderr())?.[1] ?? "");
  const open = async (): Promise<UdpTurnClient> =>
    keep(await UdpTurnClient.open(server!, { ...ALICE, username: "Alice" }));
  const ctl = async (...args: readonly string[]): Promise<string> => {
    const { code, stdout, output } = await runChild({
      command: "turnpike",
      args: ["ctl", `--socket=${socket}`, ...args],
      timeoutMs: START_MS,
    });
    expect(code, output).toBe(0);
    return stdout;
  };
  const events = start(["ctl", `--socket=${socket}`, "events", "--user", "ALICE"]);
  const client = await open();
  // The stream has begun when the first event is there.
  await expect
    .poll(
      async () => {
        await client.allocate();
        await client.refresh(0);
        return events.stdout();
      },
      { timeout: START_MS },
    )
    .toContain('"event":"allocationDeleted"');
  expect(await client.allocate()).toMatchObject({ family: 4 });
  expect(await ctl("allocations", "--user", "alice")).toMatch(
    /^ID +USER .*\n\d+-\d+ +alice +udp:127\.0\.0\.1:\d+ .*\n$/,
  );
  expect(JSON.parse(await ctl("allocations", "--json"))).toMatchObject({ allocations: [{ username: "Alice" }] });
  expect(await ctl("kill-user", "ALICE")).toBe("Ended 1 allocation\n");
  expect(await client.refresh(600)).toBe(437);
  expect(await ctl("ban", "--user", "Alice", "--seconds", "600", "--reason", "test")).toContain(
    "Banned Alice for 600 s",
  );
  expect(await ctl("ban", "--list")).toMatch(/user alice +\d+ s +test\n$/);
  expect(await ctl("ban", "--user", "aLICE", "--lift")).toBe("Lifted the ban of aLICE\n");
  expect(await (await open()).allocate()).toMatchObject({ family: 4 });
  expect(JSON.parse(await ctl("--json", "drain"))).toEqual({ allocations: 1 });
  expect(await (await open()).allocate()).toBe(508);
  relay.signal("SIGKILL");
  await relay.ended;
  expect(await events.ended).toBe(1);
  expect(events.stderr()).toContain("ended, or cut the connection");
});
