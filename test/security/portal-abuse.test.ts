/** Of those who may use a portal, each is kept from harming the others. */
import { connect } from "node:net";
import { once } from "node:events";
import { Secret } from "@turnpike/authn";
import { describe, expect, it } from "vitest";
import { hashPassword, verifyPassword } from "../../packages/portal/src/access/password.ts";
import { internal, startTestPortal } from "../support/portal.ts";
import { keep } from "../support/relay.ts";

const UNTIL = 1_900_000_000_000;

describe("a portal's users", () => {
  it("a minter's revocation leaves what others minted under the same user and label", async () => {
    const test = await startTestPortal();
    const [one, two] = [await test.userToken("one", ["minter"]), await test.userToken("two", ["minter"])];
    const { store, credentials } = test.portal.services;
    const db = store.reader(internal);
    const names = ["1900000000:alice.a", "1900000000:alice.b"];
    await credentials.insert(
      internal,
      names.map((username) => ({ username, actor: "alice", label: "phone", expiresAtUnixMs: UNTIL })),
    );
    for (const [index, minter] of ["one", "two"].entries()) {
      await store.note(internal, (writer) =>
        writer.updateTable("credentials").set({ minted_by: minter }).where("username", "=", names[index]!).execute(),
      );
    }
    const living = async (): Promise<readonly string[]> =>
      (await db.selectFrom("credentials").select("username").where("revoked_at", "is", null).execute()).map(
        ({ username }) => username,
      );
    expect((await test.request("POST", `/v1/credentials/${names[0]}/revoke`, { token: two })).status).toBe(404);
    expect((await test.request("POST", `/v1/credentials/${names[0]}/revoke`, { token: one })).status).toBe(204);
    expect(await living()).toEqual([names[1]]);
    // Who looks after the fleet means the whole label.
    expect((await test.request("POST", `/v1/credentials/${names[0]}/revoke`)).status).toBe(204);
    expect(await living()).toEqual([]);
  });

  it("a token that ends makes none that outlives it", async () => {
    const test = await startTestPortal();
    const { tokens } = test.portal.services;
    const actor = { kind: "user", id: "admin", roles: ["admin"] } as const;
    const short = await tokens.create(internal, { actor, label: "short", lifetimeSeconds: 300 });
    for (const body of [{ label: "child" }, { label: "child", lifetimeSeconds: 86_400 }]) {
      const made = await test.request("POST", "/v1/tokens", { token: short.token.reveal(), body });
      expect(made.status).toBe(201);
    }
    const children = (await tokens.list(internal)).filter(({ label }) => label === "child");
    expect(children).toHaveLength(2);
    for (const { expiresAtUnixMs = Infinity } of children) {
      expect(expiresAtUnixMs).toBeLessThanOrEqual(short.accessToken.expiresAtUnixMs! + 1_000);
    }
  });

  it("has so many streams of events and leaves the rest to others", async () => {
    const test = await startTestPortal();
    const greedy = await test.userToken("greedy", ["viewer"]);
    const end = new AbortController();
    keep({ [Symbol.asyncDispose]: async () => end.abort() });
    const open = async (token: string): Promise<number> => {
      const headers = { authorization: `Bearer ${token}` };
      return (await fetch(`${test.portal.url}/v1/events`, { headers, signal: end.signal })).status;
    };
    const statuses: number[] = [];
    for (let count = 0; count < 33; count++) statuses.push(await open(greedy));
    expect(statuses.slice(0, 32).every((status) => status === 200)).toBe(true);
    expect(statuses[32]).toBe(429);
    expect(await open(test.admin)).toBe(200);
    expect(test.portal.services.streams.open).toBe(33);
    end.abort();
    await expect.poll(() => test.portal.services.streams.open, { timeout: 20_000 }).toBe(0);
  });

  it("lists come in pages, each member once", async () => {
    const test = await startTestPortal();
    const ids = Array.from({ length: 7 }, (_, index) => `user-${index}`);
    for (const id of ids) await test.userToken(id, ["viewer"]);
    for (const [path, key] of [
      ["/v1/users", "users"],
      ["/v1/tokens", "tokens"],
    ] as const) {
      const seen: string[] = [];
      for (let after = ""; ;) {
        const query = `?limit=3${after === "" ? "" : `&after=${after}`}`;
        const body = (await test.request("GET", path + query)).body as unknown as {
          readonly [name: string]: readonly { readonly id: string }[] | string | undefined;
        };
        const page = body[key] as readonly { readonly id: string }[];
        expect(page.length).toBeLessThanOrEqual(3);
        seen.push(...page.map(({ id }) => id));
        if (typeof body["next"] !== "string") break;
        after = body["next"];
      }
      expect(seen).toHaveLength(8);
      expect(new Set(seen).size).toBe(8);
    }
    expect((await test.request("GET", "/v1/users?limit=1001")).status).toBe(400);
  });
});

describe("strangers", () => {
  it("who upgrade to rubbish get 400, and the portal serves on", async () => {
    const test = await startTestPortal();
    for (const target of ["//", "http://[", "/\\:99999", "*"]) {
      const socket = connect(test.portal.address.port, "127.0.0.1");
      socket.write(`GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`);
      let text = "";
      socket.setEncoding("utf8").on("data", (part: string) => (text += part));
      await once(socket, "close");
      expect(text).toMatch(/^HTTP\/1\.1 40[0-4] /);
    }
    expect((await test.request("GET", "/healthz")).status).toBe(200);
  });

  it("who try many passwords at once are told to come again, and hold no more than so many threads", async () => {
    const stored = await hashPassword(new Secret("right horse"));
    const outcomes = await Promise.allSettled(
      Array.from({ length: 70 }, () => verifyPassword(new Secret("wrong horse"), stored)),
    );
    expect(outcomes.filter(({ status }) => status === "rejected")).toHaveLength(6);
    expect(outcomes.find(({ status }) => status === "rejected")).toMatchObject({ reason: { status: 503 } });
    expect(await verifyPassword(new Secret("right horse"), stored)).toBe(true);
  });
});
