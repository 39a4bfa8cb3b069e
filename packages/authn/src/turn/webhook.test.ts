import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { longTermKey } from "@turnpike/stun";
import { nodeCrypto } from "@turnpike/stun/node";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { NOW, REALM, type RequestOptions, turnRequest } from "../../test/turn-request.ts";
import { ManualClock, RecordingLogger } from "../testing/index.ts";
import { createTurnAuthenticator, type TurnAnswer, type TurnAuthenticator } from "./authenticator.ts";
import type { PasswordAlgorithm, TurnDecision } from "./request.ts";
import { webhook, type WebhookOptions } from "./webhook.ts";
import type { HttpWebhookOptions } from "./webhook-http.ts";
import type { WebhookAnswer, WebhookQuestion } from "./webhook-messages.ts";

/** The backend: what it was asked, and what it does about it. */
const asked: { question: unknown; headers: IncomingMessage["headers"] }[] = [];
let handle: (response: ServerResponse) => void = () => undefined;
let server: Server;
let url = "";

beforeAll(async () => {
  server = createServer((request, response) => {
    let body = "";
    request.setEncoding("utf8").on("data", (chunk: string) => (body += chunk));
    request.on("end", () => {
      asked.push({ question: JSON.parse(body), headers: request.headers });
      handle(response);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  url = typeof address === "object" ? `http://127.0.0.1:${String(address?.port)}/turn` : "";
});
afterEach(() => {
  asked.length = 0;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

const keyOf = (algorithm: PasswordAlgorithm, username = "alice"): string =>
  Buffer.from(longTermKey({ algorithm, username, realm: REALM, password: "pw", crypto: nodeCrypto })).toString("hex");
const json =
  (body: unknown, status = 200) =>
  (response: ServerResponse) =>
    void response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
const alice: RequestOptions = { username: "alice", password: "pw" };

interface Made {
  readonly authenticator: TurnAuthenticator;
  readonly logger: RecordingLogger;
  readonly clock: ManualClock;
  readonly of: (options: RequestOptions) => Promise<TurnDecision>;
}

function make(options: Partial<WebhookOptions> & { readonly http?: Partial<HttpWebhookOptions> } = {}): Made {
  const logger = new RecordingLogger();
  const clock = new ManualClock();
  const { http, ...rest } = options;
  const scheme = webhook({ ask: { url, ...http }, ...rest });
  const authenticator = createTurnAuthenticator({ realm: REALM, schemes: [scheme], logger, scheduler: clock });
  let questionId = 0;
  return {
    authenticator,
    logger,
    clock,
    async of(options) {
      const id = ++questionId;
      const late = new Promise<TurnAnswer>((resolve) => {
        const stop = authenticator.onAnswer((answer) => {
          if (answer.questionId !== id) return;
          stop();
          resolve(answer);
        });
      });
      const decision = authenticator.authenticate(turnRequest({ ...options, questionId: id }));
      return decision.kind === "pending" ? (await late).decision : decision;
    },
  };
}

describe("webhook over HTTP", () => {
  test("asks by POST for the key of a user", async () => {
    handle = json({ result: "allow", key: keyOf("md5"), actor: "Alice Adams", expiresAt: NOW / 1000 + 60 });
    const { of, clock } = make({ http: { token: "s3cret" } });
    expect(await of(alice)).toEqual({
      kind: "authenticated",
      username: "alice",
      actor: "alice adams",
      scheme: "webhook",
      key: Uint8Array.from(Buffer.from(keyOf("md5"), "hex")),
      expiresAtUnixMs: NOW + 60_000,
      credentialId: "alice",
    });
    expect(asked).toMatchObject([
      {
        question: {
          version: 1,
          method: "allocate",
          realm: REALM,
          username: "alice",
          passwordAlgorithm: "md5",
          clientAddress: "198.51.100.7",
          transport: "udp",
        },
        headers: { authorization: "Bearer s3cret", "content-type": "application/json" },
      },
    ]);
    expect(clock.pendingCount).toBe(0);
  });

  test("takes a password, and resolves a USERHASH if it says so", async () => {
    handle = json({ result: "allow", password: "pw", username: "alice", credentialId: "c7" });
    const { of, authenticator } = make({ resolvesUserhash: true });
    expect(authenticator.usernameAnonymity).toBe(true);
    const decision = await of({ ...alice, anonymous: true, passwordAlgorithm: "sha256" });
    expect(decision).toMatchObject({ kind: "authenticated", username: "alice", credentialId: "c7" });
    expect(asked[0]?.question).toMatchObject({ userhash: expect.stringMatching(/^[0-9a-f]{64}$/u) });
    expect(asked[0]?.question).not.toHaveProperty("username");
    expect(await make().of({ ...alice, anonymous: true })).toEqual({ kind: "notRequested" });
    expect(asked).toHaveLength(1);
  });

  test.each<[string, (response: ServerResponse) => void, object]>([
    ["a refusal", json({ result: "deny" }), { reason: "badCredentials", actor: "alice" }],
    ["status 403", json({}, 403), { reason: "badCredentials", actor: "alice" }],
    ["an unknown user", json({ result: "unknown" }), { reason: "unknownActor", actor: "alice" }],
    ["status 404", json({}, 404), { reason: "unknownActor", actor: "alice" }],
    ["another key", json({ result: "allow", key: "0".repeat(32) }), { reason: "badCredentials", actor: "alice" }],
    ["another password", json({ result: "allow", password: "x" }), { reason: "badCredentials", actor: "alice" }],
    [
      "a credential that has ended",
      json({ result: "allow", password: "pw", expiresAt: NOW / 1000 }),
      { reason: "expired", actor: "alice" },
    ],
  ])("understands %s", async (_name, handler, expected) => {
    handle = handler;
    expect(await make().of(alice)).toEqual({ kind: "failed", scheme: "webhook", ...expected });
  });

  test("lets nobody in by a clock that is no number", async () => {
    handle = json({ result: "allow", password: "pw", expiresAt: NOW / 1000 + 60 });
    expect(await make().of({ ...alice, unixMs: Number.NaN })).toMatchObject({ reason: "expired" });
  });

  const failures: readonly (readonly [string, (response: ServerResponse) => void])[] = [
    ["status 500", json({ result: "allow", password: "pw" }, 500)],
    ["status 201", json({ result: "allow", password: "pw" }, 201)],
    ["status 401", json({ result: "allow", password: "pw" }, 401)],
    ["a redirect", (response) => void response.writeHead(307, { location: url }).end()],
    ["rubbish", (response) => void response.end("rubbish")],
    ["nothing", (response) => void response.end()],
    ["no object", json(null)],
    ["no result", json({ key: keyOf("md5") })],
    ["neither key nor password", json({ result: "allow" })],
    ["both of them", json({ result: "allow", key: keyOf("md5"), password: "pw" })],
    ["a key of the other algorithm", json({ result: "allow", key: keyOf("sha256") })],
    ["a key of a wrong form", json({ result: "allow", key: `0x${keyOf("md5")}` })],
    ["a misspelt member", json({ result: "allow", password: "pw", expires_at: 1 })],
    ["milliseconds", json({ result: "allow", password: "pw", expiresAt: NOW })],
    ["an endless answer", (response) => void response.end(JSON.stringify({ result: " ".repeat(20_000) }))],
    [
      "half an answer",
      (response) => {
        response.writeHead(200, { "content-length": "100" });
        response.write('{"result":"allow","password":"pw"}', () => response.destroy());
      },
    ],
    ["a closed door", (response) => void response.destroy()],
  ];

  test.each(failures)("lets nobody in by %s", async (_name, handler) => {
    handle = handler;
    const { of, logger, clock } = make();
    expect(await of(alice)).toEqual({ kind: "failed", reason: "unavailable", scheme: "webhook" });
    expect(clock.pendingCount).toBe(0);
    expect(logger.lines.map(({ level }) => level)).toEqual(["warn"]);
    expect(JSON.stringify(logger.lines)).not.toContain(keyOf("md5"));
  });

  test.each(failures.slice(0, 5))("answers 401 if told so, after %s", async (_name, handler) => {
    handle = handler;
    const { of } = make({ statusOnError: 401 });
    expect(await of(alice)).toMatchObject({ kind: "failed", reason: "badCredentials" });
  });

  test("says 500 if nobody listens there", async () => {
    const { of } = make({ http: { url: "http://127.0.0.1:1/" } });
    expect(await of(alice)).toMatchObject({ reason: "unavailable" });
  });

  test.each<[string, (response: ServerResponse) => void]>([
    ["never answers", () => undefined],
    ["answers by drops", (response) => void response.writeHead(200).write("{")],
  ])("gives a backend up that %s", async (_name, handler) => {
    const reached = Promise.withResolvers<ServerResponse>();
    handle = (response) => {
      handler(response);
      reached.resolve(response);
    };
    const { of, clock, logger } = make({ http: { timeoutSeconds: 3 } });
    const decision = of(alice);
    const response = await reached.promise;
    clock.advance(2999);
    response.write(" ");
    await new Promise(setImmediate);
    expect(logger.lines).toHaveLength(0);
    clock.advance(1);
    expect(await decision).toMatchObject({ reason: "unavailable" });
    expect(logger.lines).toMatchObject([{ fields: { cause: "WebhookError: The webhook did not answer in time" } }]);
    response.destroy();
  });

  test("is asked by plain http only on loopback, unless told otherwise", () => {
    expect(() => make({ http: { url: "http://backend.example/" } })).toThrow("allowPlainHttp");
    expect(() => make({ http: { url: "http://backend.example/", allowPlainHttp: true } })).not.toThrow();
    expect(() => make({ http: { url: "http://[::1]:8080/" } })).not.toThrow();
  });

  test.each([
    [{ url: "ftp://backend" }, TypeError],
    [{ url: "backend" }, TypeError],
    [{ url: "http://backend.example/" }, TypeError],
    [{ url: "http://user:hunter2@backend" }, TypeError],
    [{ timeoutSeconds: 0 }, RangeError],
    [{ timeoutSeconds: Infinity }, RangeError],
  ])("can't be configured as %j", (http, error) => {
    expect(() => make({ http })).toThrow(error);
    expect(() => make({ http })).not.toThrow("hunter2");
  });
});

describe("questions", () => {
  interface Backend {
    readonly questions: WebhookQuestion[];
    readonly answers: ((answer: WebhookAnswer) => void)[];
    readonly ask: (question: WebhookQuestion) => Promise<WebhookAnswer>;
  }
  const backend = (): Backend => {
    const questions: WebhookQuestion[] = [];
    const answers: ((answer: WebhookAnswer) => void)[] = [];
    const ask = async (question: WebhookQuestion): Promise<WebhookAnswer> => {
      questions.push(question);
      return new Promise((resolve) => answers.push(resolve));
    };
    return { questions, answers, ask };
  };

  test("that are the same at the same time are asked once, and each request proves itself", async () => {
    const { ask, questions, answers } = backend();
    const { of } = make({ ask });
    const decisions = [of(alice), of(alice), of({ ...alice, password: "guess" })];
    expect(questions).toHaveLength(1);
    answers[0]?.({ result: "allow", password: "pw" });
    expect((await Promise.all(decisions)).map(({ kind }) => kind)).toEqual([
      "authenticated",
      "authenticated",
      "failed",
    ]);
    const again = of(alice);
    expect(questions).toHaveLength(2);
    answers[1]?.({ result: "deny" });
    expect((await again).kind).toBe("failed");
  });

  test("are bounded in all and per address prefix; the rest gets 500 at once", async () => {
    const { ask, questions, answers } = backend();
    const { of } = make({ ask, maxConcurrent: 3, maxConcurrentPerPrefix: 2 });
    const name = (n: number, address: string): RequestOptions => ({ ...alice, username: `user${String(n)}`, address });
    const open = [of(name(1, "192.0.2.1")), of(name(2, "192.0.2.2"))];
    expect(await of(name(3, "192.0.2.3"))).toMatchObject({ reason: "unavailable" });
    open.push(of(name(4, "198.51.100.1")));
    expect(await of(name(5, "203.0.113.1"))).toMatchObject({ reason: "unavailable" });
    expect(questions).toHaveLength(3);
    for (const answer of answers) answer({ result: "unknown" });
    expect((await Promise.all(open)).map(({ kind }) => kind)).toEqual(["failed", "failed", "failed"]);
    const next = of(name(6, "192.0.2.1"));
    answers[3]?.({ result: "unknown" });
    expect(await next).toMatchObject({ reason: "unknownActor" });
  });

  test("that are the same count each, for each request that waits is kept", async () => {
    const { ask, questions, answers } = backend();
    const { of } = make({ ask, maxConcurrentPerPrefix: 2 });
    const open = [of(alice), of(alice)];
    expect(await of(alice)).toMatchObject({ reason: "unavailable" });
    expect(questions).toHaveLength(1);
    answers[0]?.({ result: "allow", password: "pw" });
    expect((await Promise.all(open)).map(({ kind }) => kind)).toEqual(["authenticated", "authenticated"]);
  });

  test("are not asked of requests that bring an access token", async () => {
    const { ask, questions } = backend();
    expect(await make({ ask }).of({ ...alice, accessToken: new Uint8Array(64) })).toEqual({ kind: "notRequested" });
    expect(questions).toHaveLength(0);
  });

  test("have a counterpart in work if the user is unknown", async () => {
    const request = turnRequest(alice);
    const authenticator = createTurnAuthenticator({
      realm: REALM,
      schemes: [webhook({ ask: async () => Promise.resolve({ result: "unknown" }) })],
    });
    const answered = new Promise((resolve) => authenticator.onAnswer(resolve));
    authenticator.authenticate(request);
    await answered;
    expect(request.checks.count).toBe(1);
  });
});
