/** Who is asking, by `turnpike relay` as people start it: a webhook by real allocations, and schemes in their order. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { transportAddress } from "@turnpike/stun";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { keep } from "../support/relay.ts";
import { startTurnpike, type TurnServerProcess } from "../support/turn-server.ts";
import { UdpTurnClient } from "../support/udp-turn-client.ts";

/** Questions that the webhook was asked, and how it answers them: never, if `answer` says nothing. */
const asked: { readonly authorization: string | undefined; readonly question: Record<string, unknown> }[] = [];
let answer: (question: Record<string, unknown>, response: ServerResponse) => void = () => {};
let server: Server;
let url: string;

beforeAll(async () => {
  server = createServer((request, response) => {
    void bodyOf(request).then((body) => {
      const question: Record<string, unknown> = JSON.parse(body);
      asked.push({ authorization: request.headers.authorization, question });
      answer(question, response);
    });
  }).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a TCP server has such an address
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/turn`;
});

afterEach(() => {
  asked.length = 0;
});

afterAll(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

async function bodyOf(request: IncomingMessage): Promise<string> {
  let body = "";
  for await (const chunk of request) body += String(chunk);
  return body;
}

async function open(relay: TurnServerProcess, username: string, password: string): Promise<UdpTurnClient> {
  return keep(await UdpTurnClient.open(transportAddress("127.0.0.1", relay.port), { username, password }));
}

function json(response: ServerResponse, value: unknown): void {
  response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(value));
}

describe("turnpike relay with a webhook", () => {
  let relay: TurnServerProcess;
  beforeAll(async () => {
    relay = await startTurnpike({
      addresses: ["127.0.0.1"],
      args: [`--webhook-url=${url}`, "--webhook-token=hook-token", "--webhook-timeout=0.5", "--penalty-delay=none"],
    });
  });
  afterAll(() => relay.stop());

  it("allocates for who is allowed, and asks once for the life of the allocation", async () => {
    answer = (_question, response) => json(response, { result: "allow", password: "wonderland", actor: "u-17" });
    const client = await open(relay, "alice", "wonderland");
    expect(await client.allocate()).toMatchObject({ family: 4 });
    expect(await client.refresh(600)).toBe("success");
    expect(await client.permit(transportAddress("127.0.0.1", 9))).toBe("success");
    expect(await client.refresh(0)).toBe("success");
    expect(asked).toEqual([
      {
        authorization: "Bearer hook-token",
        question: {
          version: 1,
          method: "allocate",
          realm: "turnpike.test",
          username: "alice",
          passwordAlgorithm: "md5",
          clientAddress: "127.0.0.1",
          transport: "udp",
        },
      },
    ]);
    expect(relay.child.stderr()).toContain('"actor":"u-17"');
  });

  it.each<[string, (response: ServerResponse) => void, number]>([
    ["another password", (response) => json(response, { result: "allow", password: "looking-glass" }), 401],
    ["a refusal", (response) => response.writeHead(403).end(), 401],
    ["an unknown user", (response) => response.writeHead(404).end(), 401],
    ["an error of its own", (response) => response.writeHead(500).end(), 500],
    ["nonsense", (response) => response.writeHead(200).end("<html>"), 500],
    ["a redirect", (response) => response.writeHead(302, { location: url }).end(), 500],
    ["nothing in time", () => {}, 500],
  ])("lets nobody in when it answers with %s", async (_, reply, code) => {
    answer = (_question, response) => reply(response);
    const client = await open(relay, "alice", "wonderland");
    expect(await client.allocate()).toBe(code);
    expect(asked).toHaveLength(1);
  });

  it("writes neither token nor passwords into its log", () => {
    for (const secret of ["hook-token", "wonderland", "looking-glass"]) {
      expect(relay.child.output()).not.toContain(secret);
    }
  });
});

describe("turnpike relay with several schemes", () => {
  it("asks the webhook last, and answers 401 on its errors if told to", async () => {
    answer = (_question, response) => response.writeHead(500).end();
    const relay = await startTurnpike({
      addresses: ["127.0.0.1"],
      users: [{ name: "alice", password: "wonderland" }],
      args: [`--webhook-url=${url}`, "--webhook-status-on-error=401", "--penalty-delay=none"],
    });
    try {
      const alice = await open(relay, "alice", "wonderland");
      expect(await alice.allocate()).toMatchObject({ family: 4 });
      expect(asked).toEqual([]);
      expect(await (await open(relay, "bob", "builder")).allocate()).toBe(401);
      expect(asked).toHaveLength(1);
    } finally {
      await relay.stop();
    }
  });

  it("asks it first when the order says so", async () => {
    answer = (_question, response) => json(response, { result: "deny" });
    const relay = await startTurnpike({
      addresses: ["127.0.0.1"],
      users: [{ name: "alice", password: "wonderland" }],
      args: [`--webhook-url=${url}`, "--schemes-turn=webhook", "--schemes-turn=static", "--penalty-delay=none"],
    });
    try {
      expect(await (await open(relay, "alice", "wonderland")).allocate()).toBe(401);
      answer = (_question, response) => json(response, { result: "unknown" });
      expect(await (await open(relay, "alice", "wonderland")).allocate()).toMatchObject({ family: 4 });
    } finally {
      await relay.stop();
    }
  });
});
