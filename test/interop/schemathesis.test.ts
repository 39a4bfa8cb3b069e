/** The portal's API against schemathesis, which makes requests of all kinds from the OpenAPI document. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, expect, it } from "vitest";
import { ROOT, runChild } from "../support/child.ts";
import { internal, startLinkedRelay, startTestPortal } from "../support/portal.ts";
import { keep } from "../support/relay.ts";
import { ensureDebianPackages } from "./support/debian.ts";

const VERSION = "4.32.5";
const INSTALL_MS = 300_000;
const RUN_MS = 240_000;
/** Kept between runs: to install it takes longer than to run it. */
const FOLDER = join(ROOT, "node_modules", ".cache", `schemathesis-${VERSION}`);
const PROGRAM = join(FOLDER, "bin", "schemathesis");
const CHECKS = [
  "not_a_server_error",
  "status_code_conformance",
  "content_type_conformance",
  "response_schema_conformance",
  "response_headers_conformance",
];

beforeAll(() => {
  if (existsSync(join(FOLDER, "installed"))) return;
  const hasPip = spawnSync("python3", ["-c", "import ensurepip, venv"]).status === 0;
  if (!hasPip) ensureDebianPackages({ packages: ["python3", "python3-venv"], commands: ["no-python3-with-venv"] });
  execFileSync("python3", ["-m", "venv", "--clear", FOLDER], { stdio: "inherit" });
  execFileSync(join(FOLDER, "bin", "pip"), ["install", "--quiet", `schemathesis==${VERSION}`], { stdio: "inherit" });
  execFileSync("touch", [join(FOLDER, "installed")]);
}, INSTALL_MS);

it(
  "has no 500, no status, content or shape that the document doesn't name",
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "turnpike-schemathesis-"));
    keep({ [Symbol.asyncDispose]: async () => rmSync(folder, { recursive: true }) });
    const test = await startTestPortal();
    await startLinkedRelay(test.portal.url, await test.portal.createRelayToken(internal, "eu-1"));
    await expect.poll(async () => (await test.request("POST", "/v1/credentials", { body: {} })).status).toBe(201);
    const result = await runChild({
      command: PROGRAM,
      args: [
        "run",
        `${test.portal.url}/openapi.json`,
        `--url=${test.portal.url}`,
        `--header=Authorization: Bearer ${test.admin}`,
        `--checks=${CHECKS.join(",")}`,
        "--phases=examples,coverage,fuzzing",
        // It never ends.
        "--exclude-path=/v1/events",
        "--max-examples=5",
        "--seed=1",
        "--generation-database=none",
        "--request-timeout=20",
        "--no-color",
      ],
      cwd: folder,
      timeoutMs: RUN_MS,
    });
    expect(result.code, result.output).toBe(0);
    console.info(result.stdout.split("\n").slice(-12).join("\n"));
  },
  RUN_MS + 60_000,
);
