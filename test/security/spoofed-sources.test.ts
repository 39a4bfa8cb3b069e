import { attribute, requestedTransport, transportAddress } from "@turnpike/stun";
import { expect, test } from "vitest";
import { GuessDefence } from "../../packages/relay/src/defence/guess-defence.ts";
import { SourceRates } from "../../packages/relay/src/limits/source-rates.ts";
import { VirtualClock } from "../../packages/relay/src/testing/virtual-clock.ts";
import { staticUsers } from "../sim/support/authentication.ts";
import { EngineHarness } from "../sim/support/engine-harness.ts";
import { outcomeOf, StunClient } from "../sim/support/stun-client.ts";

const VICTIM = transportAddress("198.51.100.7", 40_000);
const ATTACKER = transportAddress("203.0.113.66", 50_000);
const UDP = attribute(requestedTransport, 17);

function setUp() {
  const clock = new VirtualClock();
  const defence = new GuessDefence({
    clock,
    random: () => 0.5,
    settings: {
      delay: { kind: "constant", minSeconds: 0, maxSeconds: 0 },
      automaticBan: { failures: 5, windowSeconds: 600, banSeconds: 600 },
    },
    onBan: () => {},
  });
  const rates = new SourceRates({ clockOffsetMs: 0 });
  const guarded = defence.guard(staticUsers({ alice: "wonderland" }));
  const harness = new EngineHarness({
    authenticate: (request) => guarded(request, () => {}),
    gate: defence.gate(rates),
  });
  const client = (password: string): StunClient => new StunClient({ username: "alice", password }, harness.random);
  return { defence, harness, client };
}

test("case 9: what is sent in somebody's name bans nobody: failures count with a nonce of that very address only", () => {
  const { defence, harness, client } = setUp();
  const spoofer = client("guess");
  // Its own nonce, that of another port of the victim, made-up ones, and none at all.
  harness.fromClient(ATTACKER, spoofer.plain("allocate"));
  spoofer.learn(harness.answer());
  for (let i = 0; i < 100; i++) {
    harness.fromClient(VICTIM, spoofer.signed("allocate", [UDP]));
    harness.fromClient(VICTIM, spoofer.plain("allocate"));
    spoofer.nonce = `${spoofer.nonce.slice(0, -1)}${i % 2 === 0 ? "A" : "Q"}`;
  }
  expect(defence.counters).toMatchObject({ failures: 0, sources: 0, bans: 0 });
  harness.take();
  const victim = client("wonderland");
  harness.fromClient(VICTIM, victim.plain("allocate"));
  victim.learn(harness.answer());
  harness.fromClient(VICTIM, victim.signed("allocate", [UDP]));
  expect(outcomeOf(harness.answer())).toBe("success");
});

test("a ban is silence: not a byte comes back, whatever is sent, so that nothing is reflected at whom it names", () => {
  const { defence, harness, client } = setUp();
  const guesser = client("guess");
  harness.fromClient(ATTACKER, guesser.plain("allocate"));
  guesser.learn(harness.answer());
  for (let i = 0; i < 5; i++) harness.fromClient(ATTACKER, guesser.signed("allocate", [UDP]));
  expect(defence.bans()).toMatchObject([{ subject: { prefix: "203.0.113.66/32" } }]);
  harness.take();
  for (const port of [50_000, 50_001]) {
    const from = { ...ATTACKER, port };
    for (const method of ["binding", "allocate", "refresh", "createPermission", "channelBind"] as const) {
      harness.fromClient(from, guesser.plain(method));
      harness.fromClient(from, guesser.signed(method, [UDP]));
    }
  }
  expect(harness.take()).toEqual([]);
  harness.fromClient(VICTIM, client("wonderland").plain("binding"));
  expect(outcomeOf(harness.answer())).toBe("success");
});

test("a million networks that ask take no more memory than one, and nobody's count is another's", () => {
  const { defence, harness, client } = setUp();
  const stun = client("wonderland");
  const request = stun.plain("allocate");
  const rates = new SourceRates({ clockOffsetMs: 0 });
  rates.configure({ requestsPerSecond: 5, challengesPerSecond: 5, allocationsPerSecond: 5 }, 0);
  const before = rates.memory.byteLength;
  const address = { ...VICTIM };
  for (let i = 0; i < 1_000_000; i++) {
    address.w3 = Math.imul(i, 0x9e37_79b1);
    rates.admitsRequest(address, 1);
    rates.admitsChallenge(address, 1);
    rates.admitsAllocation(address, 1);
    // The engine is slower: a part of them is enough to see what it keeps.
    if (i % 50 === 0) harness.fromClient(address, request);
    if (i % 5000 === 0) harness.take();
  }
  expect(rates.memory.byteLength).toBe(before);
  expect(defence.counters).toMatchObject({ sources: 0, waiting: 0, bans: 0 });
  expect(harness.server.allocationCount).toBe(0);
  expect(harness.server.pollTimeout()).toBeUndefined();
});
