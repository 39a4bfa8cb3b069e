import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

test("examples/credentials.ts mints, fetches and verifies", async () => {
  const example = fileURLToPath(new URL("../../examples/credentials.ts", import.meta.url));
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [
    "--conditions=@turnpike/source",
    "--disable-warning=ExperimentalWarning",
    example,
  ]);
  expect(stderr).toBe("");
  expect(stdout).toMatch(/"username": "\d{10}:alice"/u);
  expect(stdout).toMatch(/verified: true, ends \d{4}-\d\d-\d\dT/u);
});
