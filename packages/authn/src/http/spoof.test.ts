import { describe, expect, test } from "vitest";
import { OperationContext } from "../core/operation-context.ts";
import { httpRequest } from "../testing/http-request.ts";
import { SPOOF_HEADER, SPOOF_RESERVED, SpoofScheme } from "./spoof.ts";

const ctx = OperationContext.internal("test");
const scheme = new SpoofScheme({ listeners: [{ address: "127.0.0.1" }] });
const ask = (value: string, remoteAddress = "127.0.0.1") =>
  scheme.authenticate(ctx, httpRequest({ headers: { [SPOOF_HEADER]: value }, remoteAddress }));

describe("SpoofScheme", () => {
  test.each([
    ["user:alice", { kind: "user", id: "alice", roles: [] }],
    ["user:alice;admin,viewer", { kind: "user", id: "alice", roles: ["admin", "viewer"] }],
    ["service:shop;mint", { kind: "service", id: "shop", roles: ["mint"] }],
    ["relay:r-1", { kind: "relay", id: "r-1" }],
  ])("trusts %s", (value, actor) => {
    expect(ask(value)).toEqual({ kind: "authenticated", actor, details: {} });
  });

  test.each([
    [SPOOF_RESERVED.unknownActor, { kind: "failed", reason: { kind: "unknownActor" } }],
    [SPOOF_RESERVED.badCredentials, { kind: "failed", reason: { kind: "badCredentials" } }],
    [SPOOF_RESERVED.unavailable, { kind: "unavailable" }],
    ["", { kind: "failed", reason: { kind: "badFormat" } }],
    ["alice", { kind: "failed", reason: { kind: "badFormat" } }],
    ["builtIn:session-cleanup", { kind: "failed", reason: { kind: "badFormat" } }],
    ["relay:r-1;admin", { kind: "failed", reason: { kind: "badFormat" } }],
    ["user:a b", { kind: "failed", reason: { kind: "badFormat" } }],
    [`user:${"x".repeat(65)}`, { kind: "failed", reason: { kind: "badFormat" } }],
  ])("the value %.40j fails in its way", (value, expected) => {
    expect(ask(value)).toMatchObject(expected);
  });

  test("without the header it isn't asked", () => {
    expect(scheme.authenticate(ctx, httpRequest())).toEqual({ kind: "notRequested" });
  });

  test.each(["192.0.2.1", "::", "0.0.0.0", "", "localhost"])("doesn't trust a client at %j", (address) => {
    expect(ask("user:alice", address)).toMatchObject({ kind: "failed", reason: { kind: "badCredentials" } });
  });

  test.each([[["127.0.0.1"]], [["::1"]], [["127.8.9.10", "::1", "::ffff:127.0.0.1"]]])(
    "may be configured with listeners on %j",
    (addresses) => {
      expect(() => new SpoofScheme({ listeners: addresses.map((address) => ({ address })) })).not.toThrow();
    },
  );

  test.each([
    [[]],
    [["0.0.0.0"]],
    [["::"]],
    [["127.0.0.1", "192.0.2.1"]],
    [["localhost"]],
    [["128.0.0.1"]],
    [["::ffff:192.0.2.1"]],
    [["fe80::1"]],
  ])("refuses to be configured with listeners on %j", (addresses) => {
    expect(() => new SpoofScheme({ listeners: addresses.map((address) => ({ address })) })).toThrow(
      /every listener must be on loopback, but .*Remove "spoof" from schemes_external/,
    );
  });
});
