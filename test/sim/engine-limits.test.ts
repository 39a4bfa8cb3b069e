import { attribute, channelNumber, transportAddress, xorPeerAddress } from "@turnpike/stun";
import { expect, test } from "vitest";
import { EngineHarness } from "./support/engine-harness.ts";
import { AWAY, CHANNEL, Scenario, TO_PEER, UDP } from "./support/scenario.ts";
import { outcomeOf } from "./support/stun-client.ts";

test("limits that change hold for what comes", () => {
  const scenario = new Scenario();
  scenario.send("allocate", UDP).send("createPermission", TO_PEER);
  scenario.harness.take();
  scenario.harness.server.setLimits({ maxPermissionsPerAllocation: 1, maxChannelsPerAllocation: 0 });
  scenario.send("createPermission", attribute(xorPeerAddress, transportAddress("1.1.1.1", 1)));
  expect(outcomeOf(scenario.harness.answer())).toBe(508);
  scenario.send("channelBind", CHANNEL, TO_PEER);
  expect(outcomeOf(scenario.harness.answer())).toBe(508);
  scenario.harness.server.setLimits({ maxPermissionsPerAllocation: 2, maxChannelsPerAllocation: 1 });
  scenario.send("channelBind", CHANNEL, TO_PEER);
  expect(outcomeOf(scenario.harness.answer())).toBe("success");
});

test("limits that make no sense change nothing", () => {
  const { server } = new EngineHarness();
  for (const limits of [
    { maxLifetimeSeconds: 0 },
    { maxPermissionsPerAllocation: 1.5 },
    { maxChannelsPerAllocation: -1 },
    { unauthenticatedBytesPerSecond: Number.NaN },
    { maxPendingAuthentications: Infinity },
  ]) {
    expect(() => server.setLimits(limits)).toThrow(Object.keys(limits)[0]);
  }
});

test("bytes for the unauthenticated are live", () => {
  const scenario = new Scenario();
  const answers = (): number => {
    for (let i = 0; i < 100; i++) scenario.harness.fromClient(AWAY, scenario.stun.plain("allocate"));
    return scenario.harness.take().filter(({ kind }) => kind === "sendToClient").length;
  };
  expect(answers()).toBe(100);
  scenario.harness.server.setLimits({ unauthenticatedBytesPerSecond: 0 });
  expect(answers()).toBe(0);
  scenario.harness.server.setLimits({ unauthenticatedBytesPerSecond: Infinity });
  expect(answers()).toBe(100);
});

test("case 19: ten thousand permissions and channels on one allocation end at the limit, and Refresh storms make nothing", () => {
  const scenario = new Scenario();
  scenario.send("allocate", UDP);
  const outcomes = { success: 0, refused: 0 };
  for (let i = 0; i < 10_000; i++) {
    const peer = transportAddress(`8.8.${i >> 8}.${i & 255}`, 5000);
    scenario.harness.take();
    scenario.send("channelBind", attribute(channelNumber, 0x4000 + i), attribute(xorPeerAddress, peer));
    outcomes[outcomeOf(scenario.harness.answer()) === "success" ? "success" : "refused"]++;
  }
  expect(outcomes).toEqual({ success: 1000, refused: 9000 });
  for (let i = 0; i < 1000; i++) scenario.send("refresh");
  const [described] = [...scenario.harness.server.describeAllocations(scenario.harness.clock)];
  expect(described).toMatchObject({ permissions: 1000, channels: 1000 });
});
