import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

function run(example: string): string {
  const file = fileURLToPath(new URL(`../../examples/${example}`, import.meta.url));
  const { stdout, stderr, status } = spawnSync(process.execPath, ["--conditions=@turnpike/source", file], {
    encoding: "utf8",
    timeout: 30_000,
  });
  expect([status, stderr]).toEqual([0, ""]);
  return stdout;
}

it("examples/hints.ts connects by a reference and shows the race", () => {
  const lines = run("hints.ts").trim().split("\n");
  expect(lines[0]).toMatch(
    /^turnpike:\/\/[a-z2-7]{52}@tcp:127\.0\.0\.1:\d+,wss:127\.0\.0\.1:\d+%2Fstream\/example\.org$/u,
  );
  expect(lines[1]).toMatch(/^! quic:127\.0\.0\.1:1 +ignored/u);
  expect(lines.join("\n")).toMatch(/^✓ (?:tcp|wss):127\.0\.0\.1:\d+\S* +won/mu);
  expect(lines.at(-1)).toBe("hello over a proven stream");
});

it("examples/hint-plugin.ts connects through a network that it adds", () => {
  const lines = run("hint-plugin.ts").trim().split("\n");
  expect(lines).toContain("router: STREAM CONNECT DESTINATION=example.i2p");
  expect(lines).toContain("connected by i2p:example.i2p");
  expect(lines.at(-1)).toBe("hello through another network");
});
