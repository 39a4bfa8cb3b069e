import { describe, expect, test } from "vitest";
import { OperationContext } from "../core/operation-context.ts";
import { httpRequest } from "../testing/http-request.ts";
import { ManualClock } from "../testing/manual-clock.ts";
import { AccessTokens } from "./access-token.ts";
import { MemoryAccessTokenStore, type StoredAccessToken } from "./access-token-store.ts";

const ctx = OperationContext.internal("test");
const actor = { kind: "service", id: "shop", roles: ["mint"] } as const;

class WatchedStore extends MemoryAccessTokenStore {
  touches = 0;
  inserted: StoredAccessToken[] = [];

  override async insert(...[ctx, token]: Parameters<MemoryAccessTokenStore["insert"]>): Promise<void> {
    this.inserted.push(token);
    return super.insert(ctx, token);
  }

  override async touch(...parameters: Parameters<MemoryAccessTokenStore["touch"]>): Promise<void> {
    this.touches++;
    return super.touch(...parameters);
  }
}

function setUp(): { clock: ManualClock; store: WatchedStore; tokens: AccessTokens; relays: AccessTokens } {
  const clock = new ManualClock();
  const store = new WatchedStore();
  return {
    clock,
    store,
    tokens: new AccessTokens({ store, clock, prefix: "tp_" }),
    relays: new AccessTokens({ store, clock, prefix: "tpr_" }),
  };
}

async function kindFor(tokens: AccessTokens, authorization: string): Promise<string> {
  const result = await tokens.authenticate(ctx, httpRequest({ headers: { authorization } }));
  return result.kind === "failed" ? result.reason.kind : result.kind;
}

describe("AccessTokens", () => {
  test("a token opens until it expires or is revoked", async () => {
    const { clock, tokens } = setUp();
    const { token, accessToken } = await tokens.create(ctx, { actor, label: "CI", lifetimeSeconds: 60 });
    expect(token.reveal()).toMatch(/^tp_[\w-]{43}$/);
    const bearer = `Bearer ${token.reveal()}`;
    expect(await tokens.authenticate(ctx, httpRequest({ headers: { authorization: bearer } }))).toMatchObject({
      kind: "authenticated",
      actor,
      details: { credentialId: accessToken.id, expiresAtUnixMs: clock.unixMs() + 60_000 },
    });
    clock.advance(59_999);
    expect(await kindFor(tokens, bearer)).toBe("authenticated");
    clock.advance(1);
    expect(await kindFor(tokens, bearer)).toBe("expired");
    const eternal = await tokens.create(ctx, { actor, label: "eternal" });
    clock.advance(1e12);
    expect(await kindFor(tokens, `bearer  ${eternal.token.reveal()}`)).toBe("authenticated");
    expect(await tokens.revoke(ctx, eternal.accessToken.id)).toBe(true);
    expect(await kindFor(tokens, `Bearer ${eternal.token.reveal()}`)).toBe("badCredentials");
    expect(await tokens.revoke(ctx, eternal.accessToken.id)).toBe(false);
  });

  test("nothing at rest opens anything, and nothing prints the token", async () => {
    const { store, tokens } = setUp();
    const made = await tokens.create(ctx, { actor, label: "CI" });
    const clear = made.token.reveal().slice(3);
    expect(JSON.stringify([made, store.inserted, await tokens.list(ctx)])).not.toContain(clear);
    expect(await kindFor(tokens, `Bearer tp_${store.inserted[0]?.tokenDigest ?? ""}`)).toBe("badCredentials");
  });

  test.each([
    ["", "notRequested"],
    ["Basic eA==", "notRequested"],
    ["Bearer", "notRequested"],
    ["Bearer eyJ.eyJ.sig", "notRequested"],
    ["Bearer tpr_xxx", "notRequested"],
    ["Bearer TP_xxx", "notRequested"],
    ["Bearer tp_", "badFormat"],
    [`Bearer tp_${"x".repeat(42)}`, "badFormat"],
    [`Bearer tp_${"x".repeat(1_000_000)}`, "badFormat"],
    [`Bearer tp_${"x".repeat(42)}=`, "badFormat"],
    [`Bearer tp_${"x".repeat(43)}\n`, "badCredentials"],
    [`Bearer tp_${"x".repeat(43)}`, "badCredentials"],
  ])("%.30j is %s", async (authorization, expected) => {
    expect(await kindFor(setUp().tokens, authorization)).toBe(expected);
  });

  test("a token in the URL is not looked at", async () => {
    const { tokens } = setUp();
    const { token } = await tokens.create(ctx, { actor, label: "CI" });
    const target = `/v1/x?access_token=${token.reveal()}`;
    expect(await tokens.authenticate(ctx, httpRequest({ target }))).toEqual({ kind: "notRequested" });
  });

  test("a token of one kind opens nothing of another, in one store", async () => {
    const { tokens, relays } = setUp();
    const user = await tokens.create(ctx, { actor, label: "user" });
    const relay = await relays.create(ctx, { actor: { kind: "relay", id: "r1" }, label: "relay" });
    expect(await kindFor(relays, `Bearer ${user.token.reveal()}`)).toBe("notRequested");
    expect(await kindFor(tokens, `Bearer ${relay.token.reveal()}`)).toBe("notRequested");
    expect(await kindFor(tokens, `Bearer ${relay.token.reveal().replace("tpr_", "tp_")}`)).toBe("badCredentials");
    expect((await tokens.list(ctx)).map((each) => each.label)).toEqual(["user"]);
    expect((await relays.list(ctx, { actorId: "r1" })).map((each) => each.label)).toEqual(["relay"]);
  });

  test("last use is written down at most once a minute", async () => {
    const { clock, store, tokens } = setUp();
    const { token } = await tokens.create(ctx, { actor, label: "CI" });
    expect((await tokens.list(ctx))[0]).not.toHaveProperty("lastUsedAtUnixMs");
    for (let use = 0; use < 120; use++) {
      expect(await kindFor(tokens, `Bearer ${token.reveal()}`)).toBe("authenticated");
      clock.advance(1_000);
    }
    expect(store.touches).toBe(2);
    expect((await tokens.list(ctx))[0]?.lastUsedAtUnixMs).toBe(clock.unixMs() - 60_000);
  });

  test("refuses what makes no sense", async () => {
    const { store, tokens } = setUp();
    expect(() => new AccessTokens({ store, prefix: "tp" })).toThrow(/as "tp_"/);
    await expect(tokens.create(ctx, { actor, label: "", lifetimeSeconds: 0 })).rejects.toThrow(RangeError);
  });
});
