import { expect, test } from "vitest";
import { nodeCrypto } from "@turnpike/stun/node";
import { TurnServer } from "./server.ts";
import type { ServerOptions } from "./contract.ts";
import { createPeerPolicy } from "./peer-policy.ts";

function server(options: Partial<ServerOptions>): TurnServer {
  return new TurnServer({
    crypto: nodeCrypto,
    random: (length) => new Uint8Array(length),
    realm: "example.org",
    listeners: [],
    authenticate: () => ({ kind: "notRequested" }),
    peerPolicy: createPeerPolicy(),
    hairpin: { isOwn: () => false, isLive: () => false, toLocal: () => false, toRelayed: () => false },
    nonceKey: new Uint8Array(32),
    ...options,
  });
}

test.each([
  { engine: 255 },
  { engines: 0 },
  { nonceLifetimeSeconds: 0 },
  { nonceLifetimeSeconds: Number.NaN },
  { maxLifetimeSeconds: -1 },
  { maxLifetimeSeconds: Infinity },
  { channelLifetimeSeconds: 0.5 },
  { maxPermissionsPerAllocation: -1 },
  { unauthenticatedBytesPerSecond: Number.NaN },
  { minimumIntegrityBytes: 15 },
  { trafficReportSeconds: 0 },
])("options that are out of range are refused: %o", (options) => {
  expect(() => server(options)).toThrow(RangeError);
  expect(() => server(options)).toThrow(Object.keys(options)[0]);
});

test("no limit on unauthenticated answers is a choice, for closed networks", () => {
  expect(server({ unauthenticatedBytesPerSecond: Infinity }).allocationCount).toBe(0);
});
