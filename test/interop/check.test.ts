import { writeFileSync, rmSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CheckReport } from "@turnpike/client";
import type { ClientTransport } from "@turnpike/turn";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runChild } from "../support/child.ts";
import {
  EVERY_TRANSPORT,
  startEveryTransportRelay,
  stepsOver,
  uriOf,
  type EveryTransportRelay,
} from "../support/every-transport-relay.ts";
import { startStreamCoturn, type Coturn } from "./support/coturn.ts";

/** The command `turnpike check`, at our relay and at Debian's coturn, with the same expectations. */
const COTURN_TRANSPORTS: readonly ClientTransport[] = ["udp", "tcp", "tls", "dtls"];
const TIMEOUT_MS = 120_000;

let relay: EveryTransportRelay;
let coturn: Coturn;
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "turnpike-check-"));
  [relay, coturn] = await Promise.all([startEveryTransportRelay(), startStreamCoturn()]);
  writeFileSync(join(folder, "ca.pem"), coturn.ca);
});
afterAll(async () => {
  await Promise.all([relay[Symbol.asyncDispose](), coturn[Symbol.asyncDispose]()]);
  rmSync(folder, { recursive: true, force: true });
});

function check(uris: readonly string[], caFile: string, ...more: readonly string[]) {
  const credentials = ["--username=alice", `--credential-file=${relay.credentialFile}`];
  const args = ["check", ...uris, ...credentials, "--ca", caFile, ...more];
  return runChild({ command: "turnpike", args, timeoutMs: TIMEOUT_MS });
}

function coturnUri(transport: ClientTransport): string {
  const isSecure = transport === "tls" || transport === "dtls";
  return uriOf(transport, `127.0.0.1:${isSecure ? coturn.tlsPort : coturn.port}`);
}

async function expectGreen(uris: readonly string[], transports: readonly ClientTransport[], caFile: string) {
  const { code, stdout, stderr } = await check(uris, caFile, "--json");
  expect({ code, stderr }, stdout).toEqual({ code: 0, stderr: "" });
  const { ok, checks } = JSON.parse(stdout) as { readonly ok: boolean; readonly checks: readonly CheckReport[] };
  const seen = checks.map(({ transport, steps }) => [transport, steps.map(({ step, status }) => `${step} ${status}`)]);
  expect({ ok, seen }).toEqual({
    ok: true,
    seen: transports.map((transport) => [transport, stepsOver(transport).map((step) => `${step} passed`)]),
  });
}

describe("turnpike check", () => {
  test("is green at our relay over every transport, TCP allocations included", async () => {
    const uris = EVERY_TRANSPORT.map((transport) => relay.uri(transport));
    await expectGreen(uris, EVERY_TRANSPORT, relay.caFile);
  });

  test("is green at coturn over UDP, TCP, TLS and DTLS, TCP allocations included", async () => {
    await expectGreen(COTURN_TRANSPORTS.map(coturnUri), COTURN_TRANSPORTS, join(folder, "ca.pem"));
  });

  test("says the same of both when the authority isn't trusted", async () => {
    const uris = (["tls", "dtls"] as const).flatMap((transport) => [relay.uri(transport), coturnUri(transport)]);
    const wrong = await check(uris.slice(0, 1), join(folder, "ca.pem"), "--json");
    expect(wrong.code).toBe(1);
    const { code, stdout } = await runChild({
      command: "turnpike",
      args: ["check", ...uris, "--json"],
      timeoutMs: TIMEOUT_MS,
    });
    const { checks } = JSON.parse(stdout) as { readonly checks: readonly CheckReport[] };
    expect({ code, codes: checks.map(({ steps }) => steps[0]?.code) }).toEqual({
      code: 1,
      codes: uris.map(() => "certificateRejected"),
    });
  });
});
