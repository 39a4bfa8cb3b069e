import { createServer, type IncomingMessage, type RequestListener, type Server } from "node:http";
import { afterEach, describe, expect, it } from "vitest";
import { OperationContext } from "../../core/operation-context.ts";
import { Secret } from "../../core/secret.ts";
import type { VerifierResult } from "../verifier.ts";
import { HttpVerifier, type HttpVerifierOptions } from "./http-verifier.ts";

const ctx = OperationContext.internal("test", { requestId: "request-1\r\nX: 1" });
const closing: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  await Promise.all(closing.splice(0).map((close) => close()));
});

async function serve(listener: RequestListener, options: Partial<HttpVerifierOptions> = {}) {
  const server: Server = createServer(listener).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  const verifier = new HttpVerifier({ url: `http://127.0.0.1:${address.port}/verify?x=1`, ...options });
  closing.push(
    () => verifier.close(),
    () =>
      new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      }),
  );
  const login = (): Promise<VerifierResult> =>
    verifier.verify(ctx, { username: "ann", password: new Secret("pässword") });
  return { verifier, login, server };
}

function reply(status: number, body: string, headers: Record<string, string> = {}): RequestListener {
  return (request, response) => {
    request.resume();
    response.writeHead(status, { "Content-Type": "application/json", ...headers }).end(body);
  };
}

describe("HttpVerifier", () => {
  it("sends name and password as JSON, with its own token, in the body only", async () => {
    const seen: { message: IncomingMessage; body: string }[] = [];
    const { login } = await serve(
      (message, response) => {
        let body = "";
        message.on("data", (data) => (body += String(data)));
        message.on("end", () => {
          seen.push({ message, body });
          response.end(
            '{"subject":"u1","displayName":"Ann","groups":["g"],"roles":["b","a","b"],"expiresAt":1700000000}',
          );
        });
      },
      { token: new Secret("s3cret") },
    );
    expect(await login()).toEqual({
      kind: "verified",
      subject: "u1",
      displayName: "Ann",
      groups: ["g"],
      roles: ["a", "b"],
      expiresAtUnixMs: 1_700_000_000_000,
    });
    expect(seen[0]?.message).toMatchObject({ method: "POST", url: "/verify?x=1" });
    expect(seen[0]?.message.headers).toMatchObject({
      authorization: "Bearer s3cret",
      "content-type": "application/json",
      "x-request-id": "request-1X:1",
    });
    expect(JSON.parse(seen[0]?.body ?? "")).toEqual({ username: "ann", password: "pässword" });
  });

  it.each([
    [401, "unknownUser"],
    [401, "badCredentials"],
    [403, "locked"],
  ])("takes %i with the reason %s for a no", async (status, reason) => {
    const { login } = await serve(reply(status, JSON.stringify({ reason })));
    expect(await login()).toEqual({ kind: "rejected", reason });
  });

  it.each<[number, string, Record<string, string>?]>([
    // A gateway that doesn't trust this verifier says 401 too.
    [401, ""],
    [401, '{"reason":"invalid_token"}'],
    [403, "<html>"],
    [404, '{"reason":"unknownUser"}'],
    [429, ""],
    [500, ""],
    [503, '{"subject":"u1"}'],
    [204, ""],
    [201, '{"subject":"u1"}'],
    [200, ""],
    [200, "null"],
    [200, "[]"],
    [200, '"u1"'],
    [200, "{}"],
    [200, '{"subject":""}'],
    [200, '{"subject":7}'],
    [200, '{"subject":"u1","groups":"admin"}'],
    [200, '{"subject":"u1","roles":[1]}'],
    [200, '{"subject":"u1","displayName":{}}'],
    [200, '{"subject":"u1","expiresAt":"soon"}'],
    [200, '{"subject":"u1","expiresAt":null}'],
    [200, `{"subject":"u1","x":"${"x".repeat(70_000)}"}`],
    [302, "", { Location: "http://127.0.0.1:1/elsewhere" }],
    [307, "", { Location: "/again" }],
  ])("takes %i %s for no answer", async (status, body, headers = {}) => {
    const { login } = await serve(reply(status, body, headers));
    expect(await login()).toMatchObject({ kind: "unavailable" });
  });

  it("takes a moment as text or number", async () => {
    const { login } = await serve(reply(200, '{"subject":"u1","expiresAt":"2030-01-01T00:00:00+01:00"}'));
    expect(await login()).toMatchObject({ expiresAtUnixMs: Date.UTC(2029, 11, 31, 23) });
  });

  it("doesn't wait for ever, for a head or for the rest", async () => {
    const silent = await serve(() => {}, { timeoutMs: 50 });
    expect(await silent.login()).toMatchObject({ kind: "unavailable" });
    const half = await serve((_request, response) => void response.writeHead(200).write('{"subject":'), {
      timeoutMs: 50,
    });
    expect(await half.login()).toMatchObject({ kind: "unavailable" });
    const cut = await serve((_request, response) => {
      response.writeHead(200, { "Content-Length": "100" });
      response.write('{"subject":"u1"}', () => response.destroy());
    });
    expect(await cut.login()).toMatchObject({ kind: "unavailable" });
  });

  it("asks once more when the kept connection was closed meanwhile, and only then", async () => {
    let asked = 0;
    const { login } = await serve((request, response) => {
      asked++;
      request.resume();
      // The first question on each connection is answered, the second finds it closed.
      if (asked === 2) request.socket.destroy();
      else response.end('{"subject":"u1"}');
    });
    expect(await login()).toMatchObject({ kind: "verified" });
    expect(await login()).toMatchObject({ kind: "verified" });
    expect(asked).toBe(3);
    const dead = await serve((request) => request.socket.destroy());
    expect(await dead.login()).toMatchObject({ kind: "unavailable" });
  });

  it("bounds connections and waiting", async () => {
    let open = 0;
    let most = 0;
    const held: (() => void)[] = [];
    const { login } = await serve(
      (request, response) => {
        request.resume();
        most = Math.max(most, ++open);
        held.push(() => {
          open--;
          response.end('{"subject":"u1"}');
        });
      },
      { maxConnections: 2, maxQueued: 2 },
    );
    const logins = Array.from({ length: 5 }, login);
    expect(await logins[4]).toMatchObject({ kind: "unavailable" });
    const all = Promise.all(logins);
    while (held.length < 2) await new Promise(setImmediate);
    for (let answered = 0; answered < 4;) {
      const next = held.shift();
      if (next !== undefined) {
        next();
        answered++;
      }
      await new Promise(setImmediate);
    }
    expect((await all).filter(({ kind }) => kind === "verified")).toHaveLength(4);
    expect(most).toBe(2);
  });

  it.each<[RegExp, HttpVerifierOptions]>([
    [/https/u, { url: "verify" }],
    [/https/u, { url: "ftp://h/" }],
    [/unencrypted/u, { url: "http://id.example.org/" }],
    [/unencrypted/u, { url: "http://127.0.0.1.example.org/" }],
    [/set token/u, { url: "https://me:pw@id.example.org/" }],
    [/Cannot wait/u, { url: "https://id.example.org/", timeoutMs: 0 }],
    [/at a time/u, { url: "https://id.example.org/", maxConnections: 0 }],
  ])("says %s", (message, options) => {
    expect(() => new HttpVerifier(options)).toThrow(message);
  });
});
