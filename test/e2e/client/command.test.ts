import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { CheckReport } from "@turnpike/client";
import { startChild } from "../../support/child.ts";
import {
  EVERY_TRANSPORT,
  startEveryTransportRelay,
  stepsOver,
  type EveryTransportRelay,
} from "../../support/every-transport-relay.ts";
import { startTurnpike, type TurnServerProcess } from "../../support/turn-server.ts";

let relay: TurnServerProcess;
let every: EveryTransportRelay;
let folder: string;

beforeAll(async () => {
  [relay, every] = await Promise.all([
    startTurnpike({ users: [{ name: "alice", password: "wonderland" }] }),
    startEveryTransportRelay(),
  ]);
  folder = mkdtempSync(join(tmpdir(), "turnpike-check-"));
  writeFileSync(join(folder, "credential"), "wonderland\n");
});
afterAll(async () => {
  await Promise.all([relay.stop(), every[Symbol.asyncDispose]()]);
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

  test("is green at turnpike relay over every transport, with TCP allocations where a stream carries them", async () => {
    const uris = EVERY_TRANSPORT.map((transport) => every.uri(transport));
    const { code, out, err } = await turnpike("check", ...uris, ...credentials(), "--ca", every.caFile, "--json");
    expect({ code, err }, out).toEqual({ code: 0, err: "" });
    const { ok, checks } = JSON.parse(out) as { readonly ok: boolean; readonly checks: readonly CheckReport[] };
    expect(ok).toBe(true);
    expect(checks.map(({ uri, transport }) => [uri, transport])).toEqual(
      EVERY_TRANSPORT.map((transport) => [every.uri(transport), transport]),
    );
    for (const [index, transport] of EVERY_TRANSPORT.entries()) {
      const steps = checks[index]?.steps.map(({ step, status }) => `${step} ${status}`);
      expect(steps).toEqual(stepsOver(transport).map((step) => `${step} passed`));
    }
    const connects = checks.map(({ steps }) => steps[0]?.detail);
    expect(connects[EVERY_TRANSPORT.indexOf("tls")]).toMatch(/^TLSv1\.3, .*, ALPN stun\.turn$/);
    expect(connects[EVERY_TRANSPORT.indexOf("dtls")]).toMatch(/^DTLSv1\.2, .*, ALPN stun\.turn$/);
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
  const dtls = await turnpike("bench", every.uri("dtls"), ...credentials(), "--ca", every.caFile, "--seconds=0.5");
  expect(dtls.out).toMatch(/sent +25 /);
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
