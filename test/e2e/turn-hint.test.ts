import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestCertificate } from "../support/certificate.ts";
import { NetcatFolder } from "../support/netcat.ts";
import { ALICE, startTestRelay } from "../support/relay.ts";

const certificate = new TestCertificate();
let folder: NetcatFolder;
beforeAll(() => {
  folder = new NetcatFolder();
  writeFileSync(join(folder.path, "credential"), `${ALICE.password}\n`);
});
afterAll(async () => {
  await folder.remove();
  await certificate[Symbol.asyncDispose]();
});

test.each([
  ["turn", "hints"],
  ["turns", "hints"],
  ["turn", "reference"],
  ["turns", "reference"],
] as const)("turnpike connect carries a file both ways through a relay by %s:, by %s", async (scheme, by) => {
  const relay = await startTestRelay({ listen: ["tcp:127.0.0.1:0"], tls: certificate });
  const transport = scheme === "turn" ? "tcp" : "tls";
  const port = relay.listening.find((listener) => listener.transport === transport)?.local.port;
  const listening = await folder.listen([...(by === "reference" ? ["--reference"] : []), "tcp:127.0.0.1:0"]);
  const target = by === "reference" ? (listening.reference ?? "") : (listening.hints[0] ?? "");
  const connecting = folder.start([
    "connect",
    "--status",
    // By hints alone it ends when the other side has ended, however long that takes.
    "--linger=600",
    target.replace("tcp:", "turn:"),
    `--turn-relay=${scheme}:127.0.0.1:${port}`,
    `--turn-username=${ALICE.username}`,
    "--turn-credential-file=credential",
    `--ca=${certificate.cert}`,
    "--allow-address=127.0.0.1",
  ]);
  const codes = await Promise.all([connecting.child.ended, listening.child.ended]);
  expect(codes, `${connecting.child.stderr()}\n${listening.child.stderr()}`).toEqual([0, 0]);
  expect(listening.receivedHash()).toBe(connecting.sentHash);
  expect(connecting.receivedHash()).toBe(listening.sentHash);
  expect(connecting.child.stderr()).toMatch(/^✓ turn:127\.0\.0\.1:\d+ +won .*TURN: through 127\.0\.0\.1$/mu);
});
