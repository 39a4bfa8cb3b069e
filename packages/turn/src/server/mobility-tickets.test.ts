import { nodeCrypto } from "@turnpike/stun/node";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MobilityTickets } from "./mobility-tickets.ts";

const tickets = new MobilityTickets({ key: new Uint8Array(32).fill(7), crypto: nodeCrypto });
const uint32 = fc.nat({ max: 0xffffffff });
const ticket = fc.record({ engine: fc.nat({ max: 254 }), allocation: uint32, sequence: uint32 });

describe("tickets", () => {
  test("open as what they stand for, and are text of 32 characters", () => {
    fc.assert(
      fc.property(ticket, (each) => {
        const issued = tickets.issue(each);
        expect(Buffer.from(issued).toString("latin1")).toMatch(/^[\w-]{32}$/);
        expect(tickets.open(issued)).toEqual(each);
      }),
    );
  });

  test("with any byte changed, cut short or under another key open nothing", () => {
    const others = new MobilityTickets({ key: new Uint8Array(32).fill(8), crypto: nodeCrypto });
    fc.assert(
      fc.property(ticket, fc.nat({ max: 31 }), fc.integer({ min: 1, max: 255 }), (each, at, flip) => {
        const issued = tickets.issue(each);
        expect(others.open(issued)).toBeUndefined();
        expect(tickets.open(issued.subarray(0, at))).toBeUndefined();
        issued[at]! ^= flip;
        expect(tickets.open(issued)).toBeUndefined();
      }),
    );
  });
});
