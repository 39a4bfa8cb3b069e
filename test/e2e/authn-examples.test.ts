import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, test } from "vitest";

const root = new URL("../../", import.meta.url);
const children: ChildProcess[] = [];

afterEach(async () => {
  for (const child of children.splice(0)) {
    child.kill();
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  }
});

/** Starts an example as its reader would, on any free port. */
async function start(example: string): Promise<{ readonly url: string; readonly authorization: string }> {
  const child = spawn(process.execPath, ["--conditions=@turnpike/source", `examples/${example}.ts`], {
    cwd: fileURLToPath(root),
    env: { ...process.env, PORT: "0" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  children.push(child);
  const [line] = await once(createInterface({ input: child.stdout }), "line");
  return JSON.parse(String(line));
}

async function ask(url: string, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(url, { headers });
}

describe.each(["authn-node-http", "authn-fastify"])("%s", (example) => {
  test("is what the README shows, in about 20 lines", () => {
    const source = readFileSync(new URL(`examples/${example}.ts`, root), "utf8");
    expect(readFileSync(new URL("packages/authn/README.md", root), "utf8")).toContain(source);
    expect(source.split("\n").length).toBeLessThanOrEqual(25);
  });

  test("lets the token in, and nobody else", async () => {
    const { url, authorization } = await start(example);
    const admitted = await ask(url, { authorization });
    expect([admitted.status, await admitted.text()]).toEqual([200, "Hello alice\n"]);
    const none = await ask(url);
    expect(none.status).toBe(401);
    expect(none.headers.get("content-type")).toMatch(/^application\/problem\+json/);
    expect(none.headers.get("www-authenticate")).toContain('Bearer realm="turnpike"');
    expect((await ask(url, { authorization: "Bearer tp_short" })).status).toBe(400);
  });
});
