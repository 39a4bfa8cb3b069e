import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { RELAY_EVENT_TYPES } from "./relay-event.ts";

test("docs/events.md knows each type of event once, and no other", () => {
  const page = readFileSync(new URL("../../../../docs/events.md", import.meta.url), "utf8");
  const table = page.slice(page.indexOf("## The events"), page.indexOf("- `authFailed.reason`"));
  const rows = table.split("\n").filter((line) => line.startsWith("| `"));
  const named = rows.flatMap((row) => [...(row.split("|")[1] ?? "").matchAll(/`(\w+)`/g)].map(([, name]) => name));
  expect(named.toSorted()).toEqual([...RELAY_EVENT_TYPES].toSorted());
});
