import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { spawnSync } from "node:child_process";
import { plainEvent } from "@turnpike/relay";
import type { LifecycleEvent } from "@turnpike/turn";
import { expect, test } from "vitest";
import { ROOT, runChild } from "../support/child.ts";
import { ALICE, allocated, openClient, startTestRelay } from "../support/relay.ts";
import { runUclient } from "../support/uclient.ts";
import { install } from "./support/redis.ts";

test("turnutils_uclient that hammers wrong passwords is banned; a valid user behind another address is untouched", async () => {
  const bans: string[] = [];
  const relay = await startTestRelay({
    penalties: {
      delay: { kind: "constant", minSeconds: 0, maxSeconds: 0.1 },
      automaticBan: { failures: 3, windowSeconds: 600, banSeconds: 600 },
    },
    events: { banStarted: ({ subject }) => bans.push(subject.kind === "prefix" ? subject.prefix : subject.user) },
  });
  const { port } = relay.listening[0]!.local;
  const valid = await openClient(relay, ALICE, 6);
  await allocated(valid);
  // It has its challenge, and so a nonce, before anybody is banned.
  const late = await openClient(relay);
  late.stun.learn(await late.exchange(late.stun.plain("allocate")));
  for (let run = 0; run < 10 && bans.length === 0; run++) {
    const { code } = await runUclient({
      port,
      // Against silence it doesn't give up by itself.
      timeoutMs: 10_000,
      args: ["-u", "alice", "-w", `guess${run}`, "-y", "-c", "-m", "1", "-n", "1"],
    });
    expect(code).not.toBe(0);
  }
  expect(bans).toEqual(["127.0.0.1/32"]);
  expect(relay.bans()).toMatchObject([{ subject: { kind: "prefix", prefix: "127.0.0.1/32" } }]);
  // Even the right password gets silence from there.
  const { discarded } = relay.stats().penalties;
  late.send(late.stun.plain("allocate"));
  late.send(late.stun.plain("binding"));
  late.send(late.stun.signed("refresh"));
  await expect.poll(() => relay.stats().penalties.discarded, { timeout: 20_000 }).toBeGreaterThanOrEqual(discarded + 3);
  expect(late.unread).toBe(0);
  expect(await valid.refresh(600)).toBe("success");
  await allocated(await openClient(relay, ALICE, 6));
});

test("fail2ban's own reader finds guesses in the relay's log by the example's filter", async () => {
  if (spawnSync("which", ["fail2ban-regex"]).status !== 0) install("fail2ban");
  const events: LifecycleEvent[] = [];
  const relay = await startTestRelay({
    onEvent: (event) => events.push(event),
    penalties: { delay: { kind: "constant", minSeconds: 0, maxSeconds: 0 } },
  });
  for (let i = 0; i < 3; i++) await (await openClient(relay, { ...ALICE, password: `guess${i}` })).allocate();
  await (await openClient(relay, { ...ALICE, password: "guess" }, 6)).allocate();
  await allocated(await openClient(relay));
  const directory = mkdtempSync(join(tmpdir(), "turnpike-fail2ban-"));
  try {
    const log = join(directory, "relay.log");
    const lines = events.map((event) => JSON.stringify({ level: 30, ...plainEvent(event), msg: event.type }));
    writeFileSync(log, `${lines.join("\n")}\n`);
    const { output } = await runChild({
      command: "fail2ban-regex",
      args: ["-v", log, `${ROOT}examples/fail2ban/turnpike-filter.conf`],
      timeoutMs: 60_000,
    });
    expect(output).toContain(`Lines: ${lines.length} lines, 0 ignored, 4 matched, ${lines.length - 4} missed`);
    expect(output.match(/^\|\s+127\.0\.0\.1 /gm)).toHaveLength(3);
    expect(output.match(/^\|\s+::1 /gm)).toHaveLength(1);
    expect(output).toMatch(/\[\d+\] "at":"/);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
