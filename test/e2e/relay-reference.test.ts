import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectReference, Connector, createIdentity, formatReference, parseReference } from "@turnpike/hints";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { TestCertificate } from "../support/certificate.ts";
import { type Child, runChild, startChild } from "../support/child.ts";

// Each test starts several processes, which take their time on a busy machine.
vi.setConfig({ testTimeout: 240_000 });

const RELAY = [
  "relay",
  "--listen=tcp:127.0.0.1:0",
  "--relay-address=127.0.0.1",
  "--allow-peer=127.0.0.1",
  "--user=alice:wonderland",
  "--metrics=off",
  "--health=off",
];
const START_MS = 120_000;

let folder: string;
let children: Child[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "turnpike-reference-"));
  children = [];
});
afterEach(async () => {
  await Promise.all(children.map((child) => child.stop()));
  rmSync(folder, { recursive: true });
});

/** Starts a relay; gives the reference that it prints. */
async function start(...flags: readonly string[]): Promise<{ readonly child: Child; readonly reference: string }> {
  const child = startChild({
    command: "turnpike",
    args: [...RELAY, "--data-dir=data", ...flags],
    cwd: folder,
    environment: { XDG_RUNTIME_DIR: "" },
  });
  children.push(child);
  const pattern = /turnpike:\/\/[a-z2-7]{52}@tcp:127\.0\.0\.1:\d+\/turnpike/u;
  await child.waitFor((it) => pattern.test(it.stderr()), START_MS);
  return { child, reference: pattern.exec(child.stderr())?.[0] ?? "" };
}

function check(...args: readonly string[]): ReturnType<typeof runChild> {
  const credentials = ["--username=alice", "--credential=wonderland"];
  return runChild({ command: "turnpike", args: ["check", ...args, ...credentials], cwd: folder, timeoutMs: START_MS });
}

describe("a relay's reference", () => {
  test("is printed, leads to the relay, and stays: its key is kept for its owner alone", async () => {
    const { child, reference } = await start();
    const file = join(folder, "data", "relay-identity.pem");
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const result = await check(reference);
    expect(result, result.output).toMatchObject({ code: 0 });
    await child.stop();
    const again = await start();
    expect(parseReference(again.reference).keyDigest).toEqual(parseReference(reference).keyDigest);
  });

  test("stands beside a certificate for the world; whoever has another key gets nothing", async () => {
    await using certificate = new TestCertificate();
    const { reference } = await start(`--cert=${certificate.cert}`, `--key=${certificate.key}`);
    const { hints, realm } = parseReference(reference);
    const uri = `turns:${hints[0]?.slice("tcp:".length)}?transport=tcp`;
    const result = await check(reference, uri, `--ca=${certificate.cert}`);
    expect(result, result.output).toMatchObject({ code: 0 });
    const { keyDigest } = createIdentity();
    const stranger = await check(formatReference({ keyDigest, hints, realm }));
    expect(stranger).toMatchObject({ code: 1, output: expect.stringContaining("its key is none of the pinned ones") });
    const connector = new Connector({ policy: { privateAddresses: "literal" } });
    const { stream } = await connectReference(connector, parseReference(reference));
    stream.destroy();
    await expect(connectReference(connector, { keyDigest, hints, realm })).rejects.toThrow("another key");
  });

  test.each([
    ["turnpike://x@/", "Cannot read reference"],
    [`turnpike://${"a".repeat(52)}@unix:%2Frun%2Fx/`, "none of its hints is of type tcp or tls"],
  ])("%s is refused with exit code 2", async (reference, message) => {
    expect(await check(reference)).toMatchObject({ code: 2, stderr: expect.stringContaining(message) });
  });
});
