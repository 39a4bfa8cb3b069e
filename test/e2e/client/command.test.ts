import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startChild } from "../../support/child.ts";
import { startTurnpike, type TurnServerProcess } from "../../support/turn-server.ts";

let relay: TurnServerProcess;
let folder: string;

beforeAll(async () => {
  relay = await startTurnpike({ users: [{ name: "alice", password: "wonderland" }] });
  folder = mkdtempSync(join(tmpdir(), "turnpike-check-"));
  writeFileSync(join(folder, "credential"), "wonderland\n");
});
afterAll(async () => {
  await relay.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function turnpike(...args: readonly string[]) {
  const child = startChild({ command: "turnpike", args });
  return { code: await child.ended, out: child.stdout(), err: child.stderr() };
}

function credentials(): string[] {
  return ["--username", "alice", "--credential-file", join(folder, "credential")];
}

describe("turnpike check", () => {
  test("is green at turnpike relay, over IPv4 and IPv6, under its default hairpin rules", async () => {
    const uris = [`turn:127.0.0.1:${relay.port}?transport=udp`, `turn:[::1]:${relay.port}?transport=udp`];
    const { code, out, err } = await turnpike("check", ...uris, ...credentials());
    expect({ code, err }, out).toEqual({ code: 0, err: "" });
    expect(out).toContain("2 transports: all passed");
    expect(out.match(/20 of 20 came back, 0 % lost, RTT /g)?.length).toBe(4);
    expect(out).not.toContain("\u001b");
  });

  test("says what fails, in JSON and by its exit code, and never the credential", async () => {
    const uri = `turn:127.0.0.1:${relay.port}?transport=udp`;
    const { code, out, err } = await turnpike("check", uri, "--json", "--username", "alice", "--credential", "hunter2");
    expect(code).toBe(1);
    expect(err).toBe("turnpike: the transport failed\n");
    expect(JSON.parse(out)).toMatchObject({ ok: false, checks: [{ uri, ok: false }] });
    expect(out).not.toContain("hunter2");
  });
});

test("turnpike bench counts and draws", async () => {
  const uri = `turn:127.0.0.1:${relay.port}`;
  const { code, out } = await turnpike("bench", uri, ...credentials(), "--transport=udp", "--seconds=1", "--flows=2");
  expect(code, out).toBe(0);
  expect(out).toMatch(/sent +100 /);
  expect(out).toMatch(/round trip +min /);
  expect(out).toContain("#");
  const json = await turnpike(
    "bench",
    uri,
    ...credentials(),
    "--transport=udp",
    "--seconds=0.5",
    "--allocate",
    "--json",
  );
  expect(JSON.parse(json.out)).toMatchObject({ benches: [{ kind: "allocations", failed: 0 }] });
});
