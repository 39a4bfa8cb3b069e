import { describe, expect, it } from "vitest";
import { PortalOrders } from "./portal-orders.ts";

function setUp(): { orders: PortalOrders; told: unknown[]; relay: Parameters<PortalOrders["setRelay"]>[0] } {
  const told: unknown[] = [];
  const orders = new PortalOrders({
    revoke: (revocation) => void told.push(["revoke", revocation.value]),
    onDrain: () => void told.push(["onDrain"]),
  });
  const relay = {
    endAllocations: (...choice: readonly unknown[]) => Promise.resolve(told.push(["end", ...choice])),
    drain: () => {
      told.push(["drain"]);
      return Promise.resolve();
    },
  };
  return { orders, told, relay };
}

const revocation = (by: "username" | "actor" | "label") => ({ by, value: "x", until_unix_ms: 1 });

describe("PortalOrders", () => {
  it("passes on what is revoked, before the relay serves and after", () => {
    const { orders, told, relay } = setUp();
    orders.handle({ event: "revoke", payload: { revocations: [revocation("username")] } });
    expect(told.splice(0)).toEqual([["revoke", "x"]]);
    orders.setRelay(relay);
    orders.handle({ event: "revoke", payload: { revocations: [revocation("username"), revocation("actor")] } });
    expect(told).toEqual([
      ["revoke", "x"],
      ["revoke", "x"],
    ]);
  });

  it("ends a user's allocations, and one allocation", () => {
    const { orders, told, relay } = setUp();
    orders.setRelay(relay);
    orders.handle({ event: "disconnect_user", payload: { actor: "alice" } });
    orders.handle({ event: "end_allocation", payload: { allocation: "a1" } });
    expect(told).toEqual([
      ["end", { by: "actor", value: "alice" }, "administrator"],
      ["end", { by: "id", value: "a1" }, "administrator"],
    ]);
  });

  it("drains once, also a relay that starts later", () => {
    const { orders, told, relay } = setUp();
    orders.handle({ event: "drain", payload: {} });
    orders.handle({ event: "drain", payload: {} });
    expect(told).toEqual([["onDrain"]]);
    orders.setRelay(relay);
    expect(told).toEqual([["onDrain"], ["drain"]]);
    expect(orders.isDraining).toBe(true);
  });

  it("keeps the fleet's secrets", () => {
    const { orders } = setUp();
    orders.handle({ event: "fleet_secrets", payload: { secrets: ["north"] } });
    expect(orders.fleetSecrets).toEqual(["north"]);
  });

  it("keeps quotas: of the users that are named, and of all others", () => {
    const { orders } = setUp();
    const of = (actor: string): number | undefined => orders.limitsFor({ actor })?.allocations;
    expect(of("alice")).toBeUndefined();
    orders.handle({ event: "quota", payload: { users: { alice: 3, bob: 0 } } });
    expect(["alice", "bob", "carol", "constructor"].map(of)).toEqual([3, 0, undefined, undefined]);
    orders.handle({ event: "quota", payload: { default: 5, users: { alice: 3 } } });
    expect(["alice", "bob"].map(of)).toEqual([3, 5]);
    orders.handle({ event: "quota", payload: { partial: true, users: { bob: 7, alice: null } } });
    expect(["alice", "bob", "carol"].map(of)).toEqual([5, 7, 5]);
    orders.handle({ event: "quota", payload: { users: {} } });
    expect(of("bob")).toBeUndefined();
  });
});
