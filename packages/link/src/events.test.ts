import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { joinPayload, MAX_REVOCATIONS_PER_MESSAGE, readPortalMessage, readRelayMessage } from "./events.ts";

const presence = { load: 0.5, allocations: 3, version: "0.1.0", draining: false, urls: ["turn:192.0.2.1:3478"] };

describe("events of the link", () => {
  it("reads what is as it must be", () => {
    expect(readRelayMessage({ event: "presence", payload: presence })).toEqual({
      kind: "message",
      message: { event: "presence", payload: presence },
    });
    const payload = { revocations: [{ by: "actor", value: "alice", until_unix_ms: 1 }] };
    expect(readPortalMessage({ event: "revoke", payload })).toEqual({
      kind: "message",
      message: { event: "revoke", payload },
    });
  });

  it("ignores what it doesn't know", () => {
    expect(readPortalMessage({ event: "allow_access", payload: {} })).toEqual({ kind: "unknown" });
    expect(readRelayMessage({ event: "revoke", payload: {} })).toEqual({ kind: "unknown" });
  });

  it("refuses what is out of bounds, without repeating it", () => {
    const secret = { event: "fleet_secrets", payload: { secrets: ["hunter2"] } };
    const refused = readPortalMessage(secret);
    expect(refused.kind).toBe("error");
    expect(JSON.stringify(refused)).not.toContain("hunter2");
    for (const wrong of [
      { load: 2 },
      { load: Number.NaN },
      { urls: ["http://x"] },
      { urls: ["turn:a\nb"] },
      { urls: ["turn:u@h"] },
    ]) {
      expect(readRelayMessage({ event: "presence", payload: { ...presence, ...wrong } }).kind).toBe("error");
    }
    const revocation = { by: "actor", value: "a", until_unix_ms: 1 };
    const many = Array.from({ length: MAX_REVOCATIONS_PER_MESSAGE + 1 }, () => revocation);
    expect(readPortalMessage({ event: "revoke", payload: { revocations: many } }).kind).toBe("error");
  });

  it("takes stamp secrets of 64 lower-case hexadecimal digits only", () => {
    expect(joinPayload.safeParse({ stamp_secret: "0a".repeat(32) }).success).toBe(true);
    for (const wrong of ["", "0a".repeat(31), "0A".repeat(32), "0g".repeat(32), "0a".repeat(33)]) {
      expect(joinPayload.safeParse({ stamp_secret: wrong }).success).toBe(false);
    }
  });

  it("never throws", () => {
    const event = fc.constantFrom("presence", "allocations", "events", "revoke", "quota", "fleet_secrets", "drain");
    fc.assert(
      fc.property(event, fc.anything(), (event, payload) => {
        readRelayMessage({ event, payload });
        readPortalMessage({ event, payload });
      }),
    );
  });
});
