import { describe, expect, test } from "vitest";
import { OperationContext } from "../core/operation-context.ts";
import type { Credentials, CredentialVerifier, VerifierResult } from "../verifiers/verifier.ts";
import { httpRequest } from "../testing/http-request.ts";
import { BasicScheme } from "./basic.ts";

const ctx = OperationContext.internal("test");

class TableVerifier implements CredentialVerifier {
  readonly provider = "table";
  readonly asked: string[] = [];

  normalizeUsername(username: string): string {
    return username.toLowerCase();
  }

  async verify(_ctx: OperationContext, { username, password }: Credentials): Promise<VerifierResult> {
    this.asked.push(username);
    if (username === "down") return { kind: "unavailable", cause: new Error("no route") };
    if (username === "locked") return { kind: "rejected", reason: "locked" };
    if (username !== "zoë") return { kind: "rejected", reason: "unknownUser" };
    if (password.reveal() !== "pass:wörd") return { kind: "rejected", reason: "badCredentials" };
    return {
      kind: "verified",
      subject: "u-1",
      displayName: "Zoë",
      groups: ["staff"],
      roles: ["admin"],
      expiresAtUnixMs: 9,
    };
  }
}

const basic = (text: string | Uint8Array): string => `Basic ${Buffer.from(text).toString("base64")}`;
const request = (authorization: string) => httpRequest({ headers: { authorization } });

describe("BasicScheme", () => {
  test("a right password makes a user, by the verifier's subject", async () => {
    const scheme = new BasicScheme({ verifier: new TableVerifier() });
    expect(await scheme.authenticate(ctx, request(basic("zoë:pass:wörd")))).toEqual({
      kind: "authenticated",
      actor: { kind: "user", id: "u-1", name: "Zoë", roles: ["admin"] },
      details: { expiresAtUnixMs: 9 },
    });
  });

  test("other compositions of the same characters are the same name and password", async () => {
    const scheme = new BasicScheme({ verifier: new TableVerifier() });
    const result = await scheme.authenticate(ctx, request(basic("zoë:pass:wörd".normalize("NFD"))));
    expect(result.kind).toBe("authenticated");
  });

  test.each([
    ["zoë:wrong", "badCredentials", undefined],
    ["nobody:wrong", "unknownActor", undefined],
    ["locked:right", "badCredentials", "locked"],
  ])("%s is %s", async (credentials, kind, note) => {
    const scheme = new BasicScheme({ verifier: new TableVerifier() });
    expect(await scheme.authenticate(ctx, request(basic(credentials)))).toEqual({
      kind: "failed",
      reason: { kind, attemptedActor: credentials.split(":")[0], ...(note === undefined ? {} : { note }) },
    });
  });

  test("a provider that is away is unavailable, never a failure", async () => {
    const scheme = new BasicScheme({ verifier: new TableVerifier() });
    expect(await scheme.authenticate(ctx, request(basic("down:x")))).toMatchObject({
      kind: "unavailable",
      attemptedActor: "down",
    });
  });

  test.each([
    [undefined, "notRequested"],
    ["Bearer x", "notRequested"],
    ["Basic", /not base64/],
    ["Basic ***", /not base64/],
    [basic(Uint8Array.of(0xff, 0x3a, 0x41)), /not UTF-8/],
    [basic("no colon"), /no colon/],
    [basic("nul\0:x"), /control/],
    [basic("a:x\ny"), /control/],
    [basic("x".repeat(5_000)), /too long/],
  ])("%.40s is %s, without asking", async (authorization, expected) => {
    const verifier = new TableVerifier();
    const headers = authorization === undefined ? {} : { authorization };
    const result = await new BasicScheme({ verifier }).authenticate(ctx, httpRequest({ headers }));
    if (typeof expected === "string") expect(result.kind).toBe(expected);
    else expect(result).toMatchObject({ reason: { kind: "badFormat", detail: expect.stringMatching(expected) } });
    expect(verifier.asked).toEqual([]);
  });

  test("who has the password but isn't a user here is unknown", async () => {
    const scheme = new BasicScheme({ verifier: new TableVerifier(), actorOf: () => undefined });
    expect(await scheme.authenticate(ctx, request(basic("zoë:pass:wörd")))).toMatchObject({
      reason: { kind: "unknownActor" },
    });
  });

  test("claims one user for all spellings that are one to the provider", () => {
    const scheme = new BasicScheme({ verifier: new TableVerifier() });
    expect(scheme.claimedUser(request(basic("ZOË:x")))).toBe("zoë");
    expect(scheme.claimedUser(request("Basic ***"))).toBeUndefined();
    expect(scheme.claimedUser(httpRequest())).toBeUndefined();
  });
});
