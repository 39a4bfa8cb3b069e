import { stripVTControlCharacters } from "node:util";
import { expect, it } from "vitest";
import { renderStatuses } from "./render-status.ts";
import type { HintStatus } from "./status.ts";

const statuses: readonly HintStatus[] = [
  {
    hint: "tcp:relay.example.org:443",
    type: "tcp",
    state: "won",
    address: "203.0.113.7",
    attempts: 1,
    timings: { addedAt: 0, resolvedAt: 12, connectingAt: 12, connectedAt: 40, settledAt: 142.4 },
  },
  {
    hint: "tls:other.example.org:443",
    type: "tls",
    state: "failed",
    attempts: 1,
    failure: {
      hint: "tls:other.example.org:443",
      address: "203.0.113.8",
      phase: "negotiating",
      cause: new Error("The certificate\n\u001b[31mdoes not prove it"),
    },
    timings: { addedAt: 0, connectingAt: 1, settledAt: 61 },
  },
  {
    hint: "tor:2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion:80",
    type: "tor",
    state: "connecting",
    detail: "Tor: 45% Loading",
    attempts: 1,
    timings: { addedAt: 0, connectingAt: 1_000 },
  },
];

it("draws one line for each hint, within the width, and obeys no control character", () => {
  expect(renderStatuses(statuses, { width: 90 })).toMatchInlineSnapshot(`
    "✓ tcp:relay.example.org:443                 won           142 ms  203.0.113.7
    ✗ tls:other.example.org:443                 failed         61 ms
        203.0.113.8 negotiating: The certificate\\u000a\\u001b[31mdoes not prove it
    → tor:2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlki…  connecting            Tor: 45% Loading"
  `);
  const coloured = renderStatuses(statuses, { width: 90, color: true });
  expect(coloured).not.toBe(stripVTControlCharacters(coloured));
  expect(stripVTControlCharacters(coloured)).toBe(renderStatuses(statuses, { width: 90 }));
  for (const line of renderStatuses(statuses, { width: 60 }).split("\n")) expect(line.length).toBeLessThanOrEqual(60);
});
