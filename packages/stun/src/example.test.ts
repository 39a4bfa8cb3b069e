import { readFileSync } from "node:fs";
import { expect, test, vi } from "vitest";

const root = new URL("../../../", import.meta.url);

test("the README's example runs and prints what it says", async () => {
  const log = vi.spyOn(console, "log").mockImplementation(() => undefined);
  await import(new URL("examples/stun.ts", root).href);
  const printed = log.mock.calls.map(([first]: unknown[]) => String(first));
  log.mockRestore();
  const source = readFileSync(new URL("examples/stun.ts", root), "utf8");
  const promised = [...source.matchAll(/console\.log\(.*\/\/ (?<text>.*)$/gm)].map((match) => match.groups?.["text"]);
  expect(printed).toEqual(promised);
  expect(promised).toHaveLength(2);
});

test("the README shows the example as it is", () => {
  const readme = readFileSync(new URL("packages/stun/README.md", root), "utf8");
  const block = /```ts\n(?<code>[\s\S]*?)```/.exec(readme)?.groups?.["code"];
  expect(block).toBe(readFileSync(new URL("examples/stun.ts", root), "utf8"));
});
