import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { NetcatFolder } from "../support/netcat.ts";
import { type Coturn, startStreamCoturn } from "./support/coturn.ts";
import { ensureDebianPackages } from "./support/debian.ts";

let coturn: Coturn;
let folder: NetcatFolder;
beforeAll(async () => {
  ensureDebianPackages({ packages: ["coturn"], commands: ["turnserver"] });
  coturn = await startStreamCoturn();
  folder = new NetcatFolder();
  writeFileSync(join(folder.path, "credential"), "wonderland\n");
  writeFileSync(join(folder.path, "ca.pem"), coturn.ca);
});
afterAll(async () => {
  await folder.remove();
  await coturn[Symbol.asyncDispose]();
});

/** Flags that name coturn as the relay, over TCP or TLS. */
function relayFlags(scheme: "turn" | "turns"): string[] {
  const port = scheme === "turn" ? coturn.port : coturn.tlsPort;
  return [
    `--turn-relay=${scheme}:127.0.0.1:${port}`,
    "--turn-username=alice",
    "--turn-credential-file=credential",
    "--ca=ca.pem",
    "--allow-address=127.0.0.1",
  ];
}

describe.each(["turn", "turns"] as const)("turn: hints through a relay by %s:", (scheme) => {
  test.each(["hints", "reference"])("turnpike connect carries a file both ways, by %s", async (by) => {
    const flags = by === "reference" ? ["--reference"] : ["--no-half-close", "--linger=1"];
    const listening = await folder.listen([...flags, "tcp:127.0.0.1:0"]);
    const turn = (listening.hints[0] ?? "").replace("tcp:", "turn:");
    const target = by === "reference" ? (listening.reference ?? "").replace("@tcp:", "@turn:") : turn;
    const connecting = folder.start(["connect", "--status", "--linger=1", target, ...relayFlags(scheme)]);
    const codes = await Promise.all([connecting.child.ended, listening.child.ended]);
    // Without a reference nothing tells an end from a cut: coturn resets the other side when one side ends.
    if (by === "reference") expect(codes, `${connecting.child.stderr()}\n${listening.child.stderr()}`).toEqual([0, 0]);
    expect(listening.receivedHash()).toBe(connecting.sentHash);
    expect(connecting.receivedHash()).toBe(listening.sentHash);
    expect(connecting.child.stderr()).toMatch(/^✓ turn:127\.0\.0\.1:\d+ +won .*TURN: through 127\.0\.0\.1$/mu);
  });

  test("a wrong credential, and a peer that is not there, are told clearly", async () => {
    writeFileSync(join(folder.path, "wrong"), "hunter2\n");
    const flags = relayFlags(scheme).map((flag) => flag.replace("=credential", "=wrong"));
    const wrong = folder.start(["connect", "turn:127.0.0.1:1", ...flags]);
    expect(await wrong.child.ended).toBe(1);
    expect(wrong.child.stderr()).toContain("doesn't accept the user name and credential");
    expect(wrong.child.stderr()).not.toContain("hunter2");
    const nobody = folder.start(["connect", "turn:127.0.0.1:1", ...relayFlags(scheme)]);
    expect(await nobody.child.ended).toBe(1);
    expect(nobody.child.stderr()).toContain("447");
  });
});

test("turn: hints reach global peers only, unless configuration allows others", async () => {
  const flags = relayFlags("turn").filter((flag) => !flag.startsWith("--allow-address"));
  const { child } = folder.start(["connect", "turn:10.0.0.1:80", ...flags]);
  expect(await child.ended).toBe(2);
  expect(child.stderr()).toContain("10.0.0.1 is private; only global addresses");
});
