import { attribute, lifetime } from "@turnpike/stun";
import { describe, expect, test } from "vitest";
import { AWAY, CLIENT, Scenario, TO_PEER, UDP } from "./support/scenario.ts";
import { outcomeOf } from "./support/stun-client.ts";

describe("the gate", () => {
  test("is asked for each request before anything else, and for each challenge", () => {
    const asked = { request: 0, challenge: 0 };
    let open = true;
    const scenario = new Scenario({
      gate: {
        admitsRequest: () => (asked.request++, open),
        admitsChallenge: () => (asked.challenge++, open),
      },
    });
    expect(asked).toEqual({ request: 1, challenge: 1 });
    scenario.send("allocate", UDP);
    expect([asked, outcomeOf(scenario.harness.answer())]).toEqual([{ request: 2, challenge: 1 }, "success"]);
    open = false;
    scenario.harness.fromClient(CLIENT, scenario.stun.plain("binding"));
    scenario.send("refresh", attribute(lifetime, 0));
    expect(scenario.harness.take()).toEqual([]);
    expect(asked.request).toBe(4);
    // Indications are no requests: what is relayed is not held up.
    scenario.harness.fromClient(CLIENT, scenario.stun.indication("binding", []));
    expect(asked.request).toBe(4);
  });

  test("who is shut out gets silence to everything, and takes nothing from its neighbours; what it has made goes on", () => {
    let [shutOut, asked] = [false, 0];
    const scenario = new Scenario({
      gate: { isShutOut: () => shutOut, admitsRequest: () => (asked++, true), admitsChallenge: () => true },
    });
    scenario.send("allocate", UDP);
    scenario.harness.take();
    shutOut = true;
    asked = 0;
    for (const method of ["binding", "allocate", "refresh"] as const) {
      scenario.harness.fromClient(AWAY, scenario.stun.plain(method));
      scenario.harness.fromClient(AWAY, scenario.stun.signed(method, [UDP]));
    }
    expect([scenario.harness.take(), asked]).toEqual([[], 0]);
    // Another user's guesses behind the same address end nobody's call.
    scenario.send("createPermission", TO_PEER);
    expect(outcomeOf(scenario.harness.answer())).toBe("success");
    scenario.send("refresh", attribute(lifetime, 0));
    expect(outcomeOf(scenario.harness.answer())).toBe("success");
    scenario.send("allocate", UDP);
    expect(scenario.harness.take()).toEqual([]);
  });
});
