import { execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { namespaces, type Path } from "../../bench/relay/places.ts";
import type { VethFindings } from "./support/veth-probe.ts";

// Loopback hides what a real path does to packets: two namespaces, an MTU of 1500 between them.
const file = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const node = [process.execPath, "--conditions=@turnpike/source"];
let path: Path | undefined;

beforeAll(() => {
  if (!existsSync("/usr/sbin/ip") && !existsSync("/sbin/ip")) {
    execFileSync("apt-get", ["install", "-y", "-o", "DPkg::Lock::Timeout=300", "iproute2"]);
  }
  path = namespaces();
});

afterAll(() => path?.remove());

test("over a path of 1500 bytes every size passes whole, runs too large for aggregates, and DONT-FRAGMENT is kept", async () => {
  if (path === undefined) throw new Error("There is no path");
  const { relay, generator } = path;
  const [enter, ...rest] = [...relay.enter, ...node, file("../../bench/relay/relay-process.ts"), "batched", relay.ip];
  const serving = spawn(enter, [...rest, "3478"], { stdio: ["ignore", "pipe", "inherit"] });
  let said = "";
  serving.stdout.on("data", (bytes: Buffer) => (said += bytes.toString()));
  try {
    while (!said.includes("ready")) await once(serving.stdout, "data");
    const [probe, ...words] = [...generator.enter, ...node, file("./support/veth-probe.ts"), relay.ip, "3478"];
    const { stdout } = await promisify(execFile)(probe, [...words, generator.ip]);
    const findings: VethFindings = JSON.parse(stdout);
    const sizes = [0, 1, 172, 1200, 1468, 1469, 1472, 1473, 3000, 9000, 30_000, 65_503];
    expect(findings).toEqual({
      toPeer: sizes,
      toClient: sizes,
      run: 12,
      smallDontFragment: 100,
      largeDontFragment: { icmpType: 3, icmpCode: 4, errorData: 1500 },
    });
  } finally {
    const ended = once(serving, "exit");
    serving.kill("SIGTERM");
    await ended;
  }
  const { traffic }: { traffic: Record<string, number> } = JSON.parse(said.trim().split("\n").at(-1) ?? "{}");
  // One packet alone was not to be sent: the one that must not be fragmented.
  expect(traffic).toMatchObject({ sendErrors: 1, sendTooLarge: 1 });
});
