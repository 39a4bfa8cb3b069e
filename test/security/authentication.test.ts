import { createServer, type Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import {
  AccessTokens,
  BasicScheme,
  type CredentialVerifier,
  type DecisionEvent,
  fromNodeRequest,
  HttpGate,
  HttpSignatureScheme,
  MemoryAccessTokenStore,
  MemorySessionStore,
  OperationContext,
  Penalties,
  sendRejection,
  Sessions,
  SpoofScheme,
} from "@turnpike/authn";
import { httpRequest, ManualClock, RecordingLogger } from "@turnpike/authn/testing";
import * as fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";

const ctx = OperationContext.internal("test");
const alice = { kind: "user", id: "alice", roles: [] } as const;
const PASSWORD = "correct-horse";

/** One user, alice; nobody else exists. */
const verifier: CredentialVerifier = {
  provider: "table",
  async verify(_ctx, { username, password }) {
    if (username !== "alice") return { kind: "rejected", reason: "unknownUser" };
    if (password.reveal() !== PASSWORD) return { kind: "rejected", reason: "badCredentials" };
    return { kind: "verified", subject: "alice", groups: [], roles: [] };
  },
};

const sessions = new Sessions({ store: new MemorySessionStore(), secure: false });
const tokens = new AccessTokens({ store: new MemoryAccessTokenStore(), prefix: "tp_" });
const logger = new RecordingLogger();
const events: DecisionEvent[] = [];
const gate = new HttpGate({
  name: "api",
  schemes: [sessions, tokens, new HttpSignatureScheme({ findKey: () => undefined }), new BasicScheme({ verifier })],
  logger,
  onDecision: (event) => void events.push(event),
});

let server: Server;
let port = 0;

beforeAll(async () => {
  server = createServer((request, response) => {
    void gate.admit(fromNodeRequest(request)).then((admission) => {
      if (admission.kind === "rejected") sendRejection(response, admission.rejection);
      else response.end("in");
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a TCP server's address is no string
  port = (server.address() as AddressInfo).port;
});

afterAll(() => new Promise((resolve) => server.close(resolve)));

beforeEach(() => {
  logger.lines.length = 0;
  events.length = 0;
});

/** Sends bytes as they are, and gives back the whole answer but for its date. */
async function send(
  fields: readonly (string | Uint8Array)[],
  requestLine = "GET /v1/whoami HTTP/1.1",
): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  socket.write(`${requestLine}\r\nHost: 127.0.0.1:${port}\r\nConnection: close\r\n`);
  for (const field of fields) {
    socket.write(field);
    socket.write("\r\n");
  }
  socket.write("\r\n");
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks)
    .toString("latin1")
    .replace(/^Date: .*\r\n/im, "");
}

const basic = (text: string | Uint8Array): string => `Authorization: Basic ${Buffer.from(text).toString("base64")}`;
const statusOf = (answer: string): string => answer.slice(9, 12);

describe("hostile user names", () => {
  test.each<[string, string | Uint8Array, string]>([
    ["of 509 bytes", `${"x".repeat(509)}:p`, "401"],
    ["of 100,000 bytes", `${"x".repeat(10_000)}:p`, "400"],
    ["of invalid UTF-8", Uint8Array.of(0x61, 0xc3, 0x28, 0x3a, 0x70), "400"],
    ["with a NUL", "alice\0:p", "400"],
    ["with a newline", "alice\nlevel=fatal:p", "400"],
    ["with an escape sequence", "\u001B[2Jalice:p", "400"],
    ["with a C1 control", "\u009B2Jalice:p", "400"],
    ["with a right-to-left override", "\u202Eecila:p", "401"],
    ["without a colon", "alice", "400"],
    ["that is empty", ":p", "401"],
    ["with a prototype's name", "__proto__:p", "401"],
  ])("%s: an answer, a safe log line, nothing more", async (_, credentials, status) => {
    expect(statusOf(await send([basic(credentials)]))).toBe(status);
    expect(logger.lines).toHaveLength(1);
    const text = JSON.stringify(logger.lines.map((line) => line.fields));
    expect(Object.values(logger.lines[0]?.fields ?? {}).join("")).not.toMatch(/[\p{Cc}\p{Cf}]/u);
    expect(text.length).toBeLessThan(1_000);
  });
});

describe("what an unknown user and a wrong password tell", () => {
  test("the same status, fields and bytes", async () => {
    const unknown = await send([basic("nobody:wrong-password")]);
    const wrong = await send([basic("alice:wrong-password")]);
    expect(statusOf(wrong)).toBe("401");
    expect(unknown).toBe(wrong);
    expect(await send([`Authorization: Bearer tp_${"x".repeat(43)}`])).toBe(wrong);
  });

  test("the same delay, even while the back end tells them apart", async () => {
    const answeredAtMs = async (user: string): Promise<number> => {
      const clock = new ManualClock();
      const penalties = new Penalties({ clock, scheduler: clock, random: () => 0.5 });
      const slow = new HttpGate({ name: "api", schemes: [new BasicScheme({ verifier })], penalties });
      const authorization = `Basic ${Buffer.from(`${user}:wrong`).toString("base64")}`;
      const answers: number[] = [];
      void slow.admit(httpRequest({ headers: { authorization } })).then(() => answers.push(clock.monotonicMs()));
      for (let step = 0; step < 100 && answers.length === 0; step++) {
        for (let turn = 0; turn < 20; turn++) await Promise.resolve();
        clock.advance(100);
      }
      return answers[0] ?? -1;
    };
    expect(await answeredAtMs("nobody")).toBe(await answeredAtMs("alice"));
  });
});

describe("secrets", () => {
  test("stay out of answers, logs and events", async () => {
    const { token } = await tokens.create(ctx, { actor: alice, label: "laptop" });
    const started = await sessions.start(ctx, httpRequest(), alice);
    const cookie = started.setCookie.split(";", 1)[0] ?? "";
    const secrets = [token.reveal(), cookie.split("=")[1] ?? "", PASSWORD, "wrong-password", started.csrfToken];
    const answers = [
      await send([`Authorization: Bearer ${token.reveal()}`]),
      await send([`Cookie: ${cookie}`]),
      await send([basic(`alice:${PASSWORD}`)]),
      await send([basic("alice:wrong-password")]),
      await send([`Authorization: Bearer ${token.reveal()}x`]),
      await send([], `GET /v1/whoami?access_token=${token.reveal()} HTTP/1.1`),
    ];
    expect(answers.map(statusOf)).toEqual(["200", "200", "200", "401", "400", "401"]);
    const printed = JSON.stringify([answers, logger.lines, events]);
    for (const secret of secrets) expect(printed).not.toContain(secret);
  });

  test("a token in the URL opens nothing", async () => {
    const { token } = await tokens.create(ctx, { actor: alice, label: "laptop" });
    for (const name of ["access_token", "token", "key"]) {
      expect(statusOf(await send([], `GET /v1/whoami?${name}=${token.reveal()} HTTP/1.1`))).toBe("401");
    }
  });
});

describe("sessions", () => {
  test("fixation: a cookie that was planted before the sign-in opens nothing after it", async () => {
    const planted = `${sessions.cookieName}=${"A".repeat(43)}`;
    const victim = await sessions.start(ctx, httpRequest({ headers: { cookie: planted } }), alice);
    expect(victim.setCookie).not.toContain("A".repeat(43));
    expect(statusOf(await send([`Cookie: ${planted}`]))).toBe("401");
  });

  test("forgery: a change by another site is refused, with all the browser would send along", async () => {
    const { setCookie, csrfToken } = await sessions.start(ctx, httpRequest(), alice);
    const cookie = `Cookie: ${setCookie.split(";", 1)[0] ?? ""}`;
    const post = "POST /v1/tokens HTTP/1.1";
    expect(statusOf(await send([cookie, "Content-Length: 0"], post))).toBe("403");
    const foreign = [cookie, "Content-Length: 0", "Origin: https://evil.example", "Sec-Fetch-Site: cross-site"];
    expect(statusOf(await send(foreign, post))).toBe("403");
    expect(statusOf(await send([...foreign, `X-CSRF-Token: ${csrfToken}`], post))).toBe("403");
    const own = [cookie, "Content-Length: 0", `Origin: http://127.0.0.1:${port}`, `X-CSRF-Token: ${csrfToken}`];
    expect(statusOf(await send(own, post))).toBe("200");
  });

  test("a refusal of a forged change doesn't sign the user out", async () => {
    const { setCookie } = await sessions.start(ctx, httpRequest(), alice);
    const cookie = `Cookie: ${setCookie.split(";", 1)[0] ?? ""}`;
    const answer = await send([cookie, "Content-Length: 0", "Origin: https://evil.example"], "POST / HTTP/1.1");
    expect(answer.toLowerCase()).not.toContain("set-cookie");
    expect(statusOf(await send([cookie]))).toBe("200");
  });
});

test("spoof can't be enabled by mistake", async () => {
  for (const address of ["0.0.0.0", "::", "192.0.2.1", "localhost", ""]) {
    expect(() => new SpoofScheme({ listeners: [{ address: "127.0.0.1" }, { address }] })).toThrow(/loopback/);
  }
  expect(statusOf(await send(["X-Turnpike-Spoof: user:alice"]))).toBe("401");
});

test("whatever the fields hold: an answer, never an exception, never a way in", async () => {
  const text = fc.oneof(
    fc.string({ unit: "binary", maxLength: 60 }),
    fc.constantFrom(
      "Basic ",
      "Bearer ",
      "Bearer tp_",
      "Basic YWxpY2U6eA==",
      "sig=()",
      "turnpike-session=",
      "; ",
      "a.b.c",
    ),
  );
  const value = fc.array(text, { maxLength: 4 }).map((parts) => parts.join(""));
  const names = ["authorization", "cookie", "signature", "signature-input", "x-csrf-token", "origin", "content-length"];
  await fc.assert(
    fc.asyncProperty(
      fc.dictionary(fc.constantFrom(...names), fc.oneof(value, fc.array(value, { maxLength: 3 }))),
      fc.constantFrom("GET", "POST"),
      value,
      async (headers, method, target) => {
        const admission = await gate.admit(httpRequest({ headers, method, target }));
        expect(admission.kind).toBe("rejected");
      },
    ),
  );
});
