import { transportAddress } from "@turnpike/stun";
import type { AuthenticationDecision, AuthenticationRequest } from "@turnpike/turn";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Authenticate } from "../relay-options.ts";
import { RecordingLogger } from "../testing/recording-logger.ts";
import { VirtualClock } from "../testing/virtual-clock.ts";
import { PenalizedAuthenticator, type PenalizedAuthenticatorOptions } from "./turn-penalties.ts";

const right: AuthenticationDecision = {
  kind: "authenticated",
  username: "alice",
  actor: "alice",
  scheme: "static",
  key: new Uint8Array(16),
};
const wrong: AuthenticationDecision = { kind: "failed", reason: "badCredentials" };

/** The password travels in the access token: the authenticator looks at nothing else. */
function request(fields: {
  readonly id: number;
  readonly username?: string;
  readonly password?: string;
  readonly address?: string;
  readonly port?: number;
}): AuthenticationRequest {
  const { id, username = "alice", password = "wrong", address = "192.0.2.1", port = 4000 } = fields;
  const transactionId = new Uint8Array(12);
  new DataView(transactionId.buffer).setUint32(0, id);
  return {
    method: "allocate",
    username,
    realm: "turnpike",
    accessToken: Buffer.from(password),
    passwordAlgorithm: "md5",
    transactionId,
    client: transportAddress(address, port),
    transport: "udp",
    unixMs: 0,
    questionId: id,
    checkIntegrity: () => false,
  };
}

function decide({ accessToken }: AuthenticationRequest): AuthenticationDecision {
  const password = Buffer.from(accessToken ?? []).toString();
  switch (password) {
    case "right":
      return right;
    case "away":
      return { kind: "failed", reason: "unavailable" };
    case "expired":
      return { kind: "failed", reason: "expired" };
    case "nobody":
      return { kind: "notRequested" };
    default:
      return wrong;
  }
}

function setUp(options: Partial<PenalizedAuthenticatorOptions> = {}) {
  const clock = new VirtualClock();
  const logger = new RecordingLogger();
  const asked: number[] = [];
  const authenticate: Authenticate = (each) => {
    asked.push(each.questionId);
    return decide(each);
  };
  const penalized = new PenalizedAuthenticator({ authenticate, clock, logger, random: () => 0.5, ...options });
  const startMs = clock.now().monotonicMs;
  /** What each request was told, and when. */
  const told: string[] = [];
  const send = (each: Parameters<typeof request>[0]): string => {
    const decision = penalized.authenticate(request(each), (late) => {
      told.push(`${each.id} ${late.kind} at ${clock.now().monotonicMs - startMs}`);
    });
    return decision.kind;
  };
  return { clock, logger, asked, penalized, told, send };
}

describe("PenalizedAuthenticator", () => {
  it("lets the right credentials through at once, without a timer", () => {
    const { send, clock, penalized } = setUp();
    expect(send({ id: 1, password: "right" })).toBe("authenticated");
    expect(clock.scheduled).toBe(0);
    expect(penalized.counters).toEqual({ failures: 0, discarded: 0, automaticBans: 0, waiting: 0, sources: 0 });
  });

  it("answers wrong credentials late, whether the user exists or not", () => {
    for (const password of ["wrong", "nobody"]) {
      const { send, told, clock } = setUp();
      expect(send({ id: 1, password })).toBe("pending");
      clock.advance(4499);
      expect(told).toEqual([]);
      clock.advance(1);
      expect(told).toEqual([`1 ${password === "wrong" ? "failed" : "notRequested"} at 4500`]);
    }
  });

  it.each(["away", "expired"])("delays nothing that says nothing about a guess (%s)", (password) => {
    const { send, penalized } = setUp();
    expect(send({ id: 1, password })).toBe("failed");
    expect(send({ id: 2, password: "right" })).toBe("authenticated");
    expect(penalized.counters.failures).toBe(0);
  });

  it("counts a retransmission as nothing: silence while it waits, the same answer afterwards", () => {
    const { send, told, clock, penalized, asked } = setUp();
    send({ id: 1 });
    for (let copy = 0; copy < 6; copy++) expect(send({ id: 1 })).toBe("discarded");
    clock.advance(4500);
    expect(told).toEqual(["1 failed at 4500"]);
    expect(send({ id: 1 })).toBe("failed");
    expect(asked).toEqual([1]);
    expect(penalized.counters).toMatchObject({ failures: 1, discarded: 6, waiting: 0 });
  });

  it("holds what comes about the same user while a delay runs, right or wrong, and nobody else", () => {
    const { send, told, clock, asked } = setUp();
    send({ id: 1 });
    expect(send({ id: 2, password: "right" })).toBe("pending");
    expect(send({ id: 3, password: "right", username: "bob" })).toBe("authenticated");
    expect(send({ id: 4, password: "right", address: "192.0.2.2" })).toBe("authenticated");
    expect(asked).toEqual([1, 3, 4]);
    clock.advance(4500);
    expect(told).toEqual(["1 failed at 4500", "2 authenticated at 4500"]);
  });

  it("knows a user by every spelling and timestamp", () => {
    const { send } = setUp();
    send({ id: 1, username: "1900000000:alice" });
    const names = ["1900000001:Alice", "alice:1900000000", "ALICE", "1900000000:alice.salt"];
    for (const [index, username] of names.entries()) {
      expect(send({ id: 2 + index, username, password: "right" }), username).toBe("pending");
    }
  });

  it("shuts an address out, silently, and says so in the log once", () => {
    const automaticBan = { failures: 3, windowSeconds: 60, banSeconds: 120 };
    const { send, told, clock, penalized, logger, asked } = setUp({ settings: { automaticBan } });
    send({ id: 1, username: "a" });
    send({ id: 2, username: "b" });
    send({ id: 3, username: "b" });
    send({ id: 4, username: "c" });
    expect(asked).toEqual([1, 2, 4]);
    expect(send({ id: 5, username: "d", password: "right" })).toBe("discarded");
    expect(send({ id: 6, username: "d", password: "right", address: "192.0.2.2" })).toBe("authenticated");
    clock.advance(5000);
    // What waited for its turn is let go of; what was decided before the ban is told.
    expect(told).toContain("3 discarded at 4500");
    expect(logger.messages("warn")).toEqual(["An address was banned"]);
    expect(penalized.counters).toMatchObject({ automaticBans: 1, waiting: 0 });
    clock.advance(115_000);
    expect(send({ id: 7, username: "d", password: "right" })).toBe("authenticated");
  });

  it("delays what a slow authenticator says late", () => {
    const open: ((decision: AuthenticationDecision) => void)[] = [];
    const authenticate: Authenticate = (_request, settle) => {
      open.push(settle);
      return { kind: "pending" };
    };
    const { send, told, clock } = setUp({ authenticate });
    expect(send({ id: 1 })).toBe("pending");
    expect(send({ id: 1 })).toBe("discarded");
    clock.advance(1000);
    open[0]?.(wrong);
    expect(send({ id: 2, username: "bob" })).toBe("pending");
    open[1]?.(right);
    expect(told).toEqual(["2 authenticated at 1000"]);
    clock.advance(4500);
    expect(told).toEqual(["2 authenticated at 1000", "1 failed at 5500"]);
  });

  it("is silent when too much waits, and has one timer for all of it", () => {
    const { send, clock, penalized } = setUp({ maxPending: 40, settings: { automaticBan: false } });
    const kinds = Array.from({ length: 60 }, (_, id) => send({ id, username: `user-${id}` }));
    expect(kinds.filter((kind) => kind === "pending")).toHaveLength(32);
    const others = Array.from({ length: 60 }, (_, id) => send({ id, username: `user-${id}`, address: "192.0.2.2" }));
    expect(others.filter((kind) => kind === "pending")).toHaveLength(8);
    expect(penalized.counters.waiting).toBe(40);
    expect(clock.pending).toBe(1);
    penalized.close();
    expect(clock.pending).toBe(0);
    expect(penalized.counters.waiting).toBe(0);
  });

  it("settles each question at most once, and forgets it", () => {
    const step = fc.record({
      id: fc.nat({ max: 30 }),
      username: fc.constantFrom("alice", "bob"),
      password: fc.constantFrom("right", "wrong", "away"),
      port: fc.constantFrom(1, 2),
      advanceMs: fc.constantFrom(0, 100, 3000, 60_000),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const { send, told, clock, penalized } = setUp({
          settings: { automaticBan: { failures: 5, windowSeconds: 60, banSeconds: 30 } },
        });
        let pending = 0;
        for (const { advanceMs, ...each } of steps) {
          if (send(each) === "pending") pending++;
          clock.advance(advanceMs);
        }
        clock.advance(300_000);
        expect(told).toHaveLength(pending);
        expect(penalized.counters.waiting).toBe(0);
        expect(clock.pending).toBe(0);
      }),
    );
  });
});
