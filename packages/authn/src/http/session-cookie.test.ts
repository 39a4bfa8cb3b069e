import * as fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { OperationContext } from "../core/operation-context.ts";
import { httpRequest } from "../testing/http-request.ts";
import { ManualClock } from "../testing/manual-clock.ts";
import { MemorySessionStore } from "./memory-session-store.ts";
import { Sessions, type SessionsOptions } from "./session-cookie.ts";
import type { StoredSession } from "./session.ts";

const ctx = OperationContext.internal("test");
const alice = { kind: "user", id: "alice", roles: ["admin"] } as const;

class CountingStore extends MemorySessionStore {
  touches = 0;
  inserted: StoredSession[] = [];

  override async insert(...[ctx, session]: Parameters<MemorySessionStore["insert"]>): Promise<void> {
    this.inserted.push(session);
    return super.insert(ctx, session);
  }

  override async touch(...parameters: Parameters<MemorySessionStore["touch"]>): Promise<void> {
    this.touches++;
    return super.touch(...parameters);
  }
}

let clock: ManualClock;
let store: CountingStore;

beforeEach(() => {
  clock = new ManualClock();
  store = new CountingStore();
});

function create(options: Partial<SessionsOptions> = {}): Sessions {
  return new Sessions({ store, clock, secure: true, idleSeconds: 600, absoluteSeconds: 3_600, ...options });
}

/** What a browser sends back. */
function cookieOf(setCookie: string): string {
  return setCookie.split(";", 1)[0] ?? "";
}

async function signIn(sessions: Sessions): Promise<{ cookie: string; csrfToken: string; id: string }> {
  const started = await sessions.start(ctx, httpRequest(), alice);
  return { cookie: cookieOf(started.setCookie), csrfToken: started.csrfToken, id: started.session.id };
}

async function kindFor(sessions: Sessions, cookie: string): Promise<string> {
  const result = await sessions.authenticate(ctx, httpRequest({ headers: { cookie } }));
  return result.kind === "failed" ? result.reason.kind : result.kind;
}

describe("the cookie", () => {
  test("over https it is Secure, HttpOnly, SameSite, of this host only", async () => {
    const { setCookie } = await create().start(ctx, httpRequest(), alice);
    expect(setCookie).toMatch(
      /^__Host-turnpike-session=[\w-]{43}; Max-Age=3600; Path=\/; HttpOnly; Secure; SameSite=Lax$/,
    );
  });

  test("over http it has no prefix that browsers would refuse", async () => {
    const { setCookie } = await create({ secure: false, sameSite: "strict" }).start(ctx, httpRequest(), alice);
    expect(setCookie).toMatch(/^turnpike-session=[\w-]{43}; Max-Age=3600; Path=\/; HttpOnly; SameSite=Strict$/);
  });

  test("nothing at rest opens a session", async () => {
    const sessions = create();
    const { cookie } = await signIn(sessions);
    const token = cookie.split("=")[1] ?? "";
    expect(JSON.stringify(store.inserted)).not.toContain(token);
    const atRest = store.inserted[0]?.tokenDigest ?? "";
    expect(await kindFor(sessions, `__Host-turnpike-session=${atRest}`)).toBe("badCredentials");
  });

  test.each([
    ["", "notRequested"],
    ["other=1", "notRequested"],
    ["turnpike-session=x", "notRequested"],
    ["__host-turnpike-session=x", "notRequested"],
    [`__Host-turnpike-session=`, "badFormat"],
    [`__Host-turnpike-session=short`, "badFormat"],
    [`__Host-turnpike-session=${"x".repeat(44)}`, "badFormat"],
    [`__Host-turnpike-session=${"é".repeat(43)}`, "badFormat"],
    [`__Host-turnpike-session=${"x".repeat(43)}`, "badCredentials"],
    [`__Host-turnpike-session=${"x".repeat(43)}; __Host-turnpike-session=${"y".repeat(43)}`, "badFormat"],
    [`__Host-turnpike-session=${"x".repeat(43)}${"; a=b".repeat(5_000)}`, "notRequested"],
  ])("%.60s is %s", async (cookie, expected) => {
    expect(await kindFor(create(), cookie)).toBe(expected);
  });

  test("a planted cookie opens nothing after the sign-in, and the earlier session ends", async () => {
    const sessions = create();
    const first = await signIn(sessions);
    const planted = httpRequest({ headers: { cookie: first.cookie } });
    const second = await sessions.start(ctx, planted, { ...alice, id: "bob" });
    expect(cookieOf(second.setCookie)).not.toBe(first.cookie);
    expect(await kindFor(sessions, first.cookie)).toBe("badCredentials");
    expect(await kindFor(sessions, cookieOf(second.setCookie))).toBe("authenticated");
  });

  test("signing out ends the session and takes the cookie back", async () => {
    const sessions = create();
    const { cookie } = await signIn(sessions);
    expect(await sessions.end(ctx, httpRequest({ headers: { cookie } }))).toMatch(
      /^__Host-turnpike-session=; Max-Age=0; Path=\/; HttpOnly; Secure/,
    );
    expect(await kindFor(sessions, cookie)).toBe("badCredentials");
  });
});

describe("expiry", () => {
  test("idle: a session that isn't used ends", async () => {
    const sessions = create();
    const { cookie } = await signIn(sessions);
    clock.advance(599_999);
    expect(await kindFor(sessions, cookie)).toBe("authenticated");
    clock.advance(600_000);
    expect(await kindFor(sessions, cookie)).toBe("expired");
    expect(await kindFor(sessions, cookie)).toBe("badCredentials");
  });

  test("absolute: a session ends however much it is used", async () => {
    const sessions = create();
    const { cookie } = await signIn(sessions);
    for (let second = 300; second < 3_600; second += 300) {
      clock.advance(300_000);
      expect(await kindFor(sessions, cookie)).toBe("authenticated");
    }
    clock.advance(300_000);
    expect(await kindFor(sessions, cookie)).toBe("expired");
  });

  test("use is written down at most once a minute", async () => {
    const sessions = create();
    const { cookie } = await signIn(sessions);
    for (let use = 0; use < 300; use++) {
      clock.advance(1_000);
      await kindFor(sessions, cookie);
    }
    expect(store.touches).toBe(5);
  });

  test("any series of uses: open exactly until idle or absolute end, up to the bound on writes", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 700 }), { maxLength: 20 }), async (pauses) => {
        const sessions = create();
        const { cookie } = await signIn(sessions);
        let lastUse = 0;
        let now = 0;
        for (const pause of pauses) {
          clock.advance(pause * 1_000);
          now += pause;
          const kind = await kindFor(sessions, cookie);
          if (now >= 3_600 || now - lastUse >= 600) {
            expect(kind).toBe("expired");
            return;
          }
          // Within the last minute before the idle end, an unwritten use may make it end early.
          if (now - lastUse < 540) expect(kind).toBe("authenticated");
          if (kind !== "authenticated") return;
          lastUse = now;
        }
      }),
    );
  });

  test("cleaning up removes what has ended, and only that", async () => {
    const sessions = create();
    await signIn(sessions);
    clock.advance(400_000);
    const { id } = await signIn(sessions);
    clock.advance(200_000);
    expect(await sessions.list(ctx)).toMatchObject([{ id }]);
    expect(await sessions.cleanUp(ctx)).toBe(1);
    expect(await sessions.list(ctx, { actorId: "alice" })).toMatchObject([{ id }]);
  });

  test("a user's other sessions can be ended", async () => {
    const sessions = create();
    const first = await signIn(sessions);
    const second = await signIn(sessions);
    expect(await sessions.revokeAll(ctx, { actorId: "alice", exceptId: second.id })).toBe(1);
    expect(await kindFor(sessions, first.cookie)).toBe("badCredentials");
    expect(await sessions.revoke(ctx, second.id)).toBe(true);
    expect(await kindFor(sessions, second.cookie)).toBe("badCredentials");
  });
});

describe("forged changes", () => {
  const change = async (sessions: Sessions, headers: Record<string, string>, method = "POST"): Promise<string> => {
    const result = await sessions.authenticate(ctx, httpRequest({ method, headers }));
    return result.kind === "failed" && result.reason.kind === "forged" ? result.reason.detail : result.kind;
  };

  test.each<[string, Record<string, string>, string]>([
    ["with the token", {}, "authenticated"],
    ["from the same origin", { origin: "https://portal.example.org" }, "authenticated"],
    ["as the browser's own deed", { "sec-fetch-site": "none" }, "authenticated"],
    ["from a page of this site", { "sec-fetch-site": "same-origin", origin: "null" }, "authenticated"],
    ["from another site", { "sec-fetch-site": "cross-site" }, "the change comes from another site"],
    ["from a neighbour", { "sec-fetch-site": "same-site" }, "the change comes from another site"],
    ["from another origin", { origin: "https://evil.example.org" }, "the change comes from another origin"],
    ["from nowhere", { origin: "null" }, "the change comes from another origin"],
    ["by another scheme", { origin: "http://portal.example.org" }, "the change comes from another origin"],
    ["without the token", { "x-csrf-token": "" }, "the header x-csrf-token is not this session's"],
  ])("%s", async (_, headers, expected) => {
    const sessions = create();
    const { cookie, csrfToken } = await signIn(sessions);
    for (const method of ["POST", "PUT", "PATCH", "DELETE"]) {
      expect(await change(sessions, { cookie, "x-csrf-token": csrfToken, ...headers }, method)).toBe(expected);
    }
  });

  test("another session's token is no good, and a missing one is named", async () => {
    const sessions = create();
    const mine = await signIn(sessions);
    const theirs = await signIn(sessions);
    expect(await change(sessions, { cookie: mine.cookie })).toBe("a change needs the header x-csrf-token");
    expect(await change(sessions, { cookie: mine.cookie, "x-csrf-token": theirs.csrfToken })).toMatch(
      /not this session's/,
    );
  });

  test("behind a proxy, the configured origin counts", async () => {
    const sessions = create({ origins: ["https://public.example.org/"] });
    const { cookie, csrfToken } = await signIn(sessions);
    const headers = { cookie, "x-csrf-token": csrfToken };
    expect(await change(sessions, { ...headers, origin: "https://public.example.org" })).toBe("authenticated");
    expect(await change(sessions, { ...headers, origin: "https://portal.example.org" })).toMatch(/another origin/);
  });

  test("reading needs no token", async () => {
    const sessions = create();
    const { cookie } = await signIn(sessions);
    for (const method of ["GET", "HEAD", "OPTIONS"]) {
      expect(await change(sessions, { cookie }, method)).toBe("authenticated");
    }
  });

  test("a forged change doesn't sign anybody out", () => {
    const sessions = create();
    expect(sessions.rejectionHeaders(httpRequest(), { kind: "badFormat", detail: "" })).toEqual({});
    expect(sessions.rejectionHeaders(httpRequest(), { kind: "expired" })).toHaveProperty("set-cookie");
  });
});

test.each<Partial<SessionsOptions>>([
  { idleSeconds: 0 },
  { absoluteSeconds: -1 },
  { idleSeconds: Number.NaN },
  { cookieName: "a b" },
  { origins: ["nowhere"] },
])("refuses the configuration %j", (options) => {
  expect(() => create(options)).toThrow();
});
