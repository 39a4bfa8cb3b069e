import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import type { AddressInfo, Server } from "node:net";
import {
  checkReportsJson,
  checkServers,
  formatCheckReports,
  type CheckOptions,
  type CheckReport,
  type CheckStepResult,
} from "@turnpike/client";
import type { ClientTransport } from "@turnpike/turn";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { TestAuthority, type TestCertificate } from "../../support/certificates.ts";
import { EngineServer } from "../../support/engine-server.ts";

const ALICE = { username: "alice", credential: "wonderland" };
const TRANSPORTS: readonly ClientTransport[] = ["udp", "tcp", "tls", "dtls", "ws", "wss"];

let authority: TestAuthority;
let certificate: TestCertificate;
let server: EngineServer | undefined;
const others: Server[] = [];

beforeAll(() => {
  authority = new TestAuthority();
  certificate = authority.issue(["127.0.0.1"]);
});
afterEach(async () => {
  await server?.[Symbol.asyncDispose]();
  server = undefined;
  for (const other of others.splice(0)) other.close();
});

async function serve(options: Parameters<typeof EngineServer.start>[0] = {}): Promise<EngineServer> {
  server = await EngineServer.start({ transports: TRANSPORTS, certificate, ...options });
  return server;
}

function statuses(report: CheckReport | undefined): string[] {
  return report?.steps.map(({ step, status }) => `${step} ${status}`) ?? [];
}

describe("checkServers", () => {
  test.each(TRANSPORTS)("all is well over %s", async (transport) => {
    const it = await serve();
    const seen: CheckStepResult[] = [];
    const [report, ...others] = await checkServers([it.uri(transport)], {
      ...ALICE,
      tls: { ca: authority.ca },
      onStep: (_uri, result) => seen.push(result),
    });
    expect(others).toEqual([]);
    const relaysTcp = transport === "tcp" || transport === "tls";
    expect(statuses(report)).toEqual([
      "connect passed",
      "binding passed",
      "challenge passed",
      "allocate passed",
      "permission passed",
      "send passed",
      "channel passed",
      "data passed",
      ...(relaysTcp ? ["tcp relay passed"] : []),
      "refresh passed",
      "close passed",
    ]);
    expect(report).toMatchObject({ ok: true, transport, uri: it.uri(transport) });
    expect(seen).toEqual(report?.steps);
    for (const step of ["send", "data"]) {
      const traffic = report?.steps.find((each) => each.step === step)?.traffic;
      expect(traffic).toMatchObject({ sent: 20, received: 20, lossPercent: 0 });
      expect(traffic?.rttMs?.min).toBeGreaterThan(0);
    }
    expect(it.server.allocationCount).toBe(0);
  });

  test("a stun: URI ends after Binding; a turn: URI without a transport is tried over UDP and TCP", async () => {
    const it = await serve({ transports: ["udp"] });
    const { port } = it.listening.get("udp")!;
    const stun = await checkServers([`stun:127.0.0.1:${port}`]);
    expect(statuses(stun[0])).toEqual(["connect passed", "binding passed"]);
    const both = await checkServers([`turn:127.0.0.1:${port}`], ALICE);
    expect(both.map(({ uri, ok }) => [uri, ok])).toEqual([
      [`turn:127.0.0.1:${port}?transport=udp`, true],
      [`turn:127.0.0.1:${port}?transport=tcp`, false],
    ]);
    expect(both[1]?.steps[0]).toMatchObject({ step: "connect", status: "failed" });
    expect(statuses(both[1])[1]).toBe("binding skipped");
  });

  test("a wrong credential fails at Allocate, a forbidden peer at CreatePermission, and the rest says why it waits", async () => {
    const it = await serve();
    const [wrong] = await checkServers([it.uri("udp")], { ...ALICE, credential: "no" });
    expect(statuses(wrong).slice(2, 6)).toEqual([
      "challenge passed",
      "allocate failed",
      "permission skipped",
      "send skipped",
    ]);
    expect(wrong?.steps[3]?.detail).toContain("doesn't accept the user name and credential");
    const [forbidden] = await checkServers([it.uri("udp")], { ...ALICE, peer: "10.0.0.1:9" });
    expect(statuses(forbidden).slice(4)).toEqual([
      "permission failed",
      "send skipped",
      "channel skipped",
      "data skipped",
      "refresh passed",
      "close passed",
    ]);
    expect(forbidden?.steps[4]?.detail).toContain("403");
  });

  test("a peer of one's own is one that sends back what it gets; one that is silent is loss", async () => {
    const it = await serve();
    const echo = createSocket("udp4");
    echo.bind(0, "127.0.0.1");
    await once(echo, "listening");
    echo.on("message", (data, from) => echo.send(data, from.port, from.address));
    const peer = `127.0.0.1:${echo.address().port}`;
    const [report] = await checkServers([it.uri("udp")], { ...ALICE, peer });
    expect(report?.ok).toBe(true);
    echo.removeAllListeners("message");
    const [silent] = await checkServers([it.uri("udp")], { ...ALICE, peer, datagrams: 2 });
    expect(silent?.steps.find(({ step }) => step === "send")).toMatchObject({
      status: "failed",
      detail: "0 of 2 came back, 100 % lost",
    });
    echo.close();
  });

  test("a server without TCP allocations is not at fault", async () => {
    const it = await serve({ tcpRelay: false });
    const [report] = await checkServers([it.uri("tcp")], ALICE);
    expect(report?.ok).toBe(true);
    expect(report?.steps.find(({ step }) => step === "tcp relay")).toMatchObject({ status: "skipped" });
  });

  test("a name that leads nowhere is a report; a URI that is none, and an abort, are errors", async () => {
    const resolver = { addresses: async () => [], srv: async () => [], naptr: async () => [] };
    const [report] = await checkServers(["turn:nowhere.example"], { resolver });
    expect(report).toMatchObject({ ok: false, server: undefined });
    await expect(checkServers(["turn://x"])).rejects.toThrow('no "//" stands after the scheme');
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(checkServers(["turn:127.0.0.1:1"], { ...ALICE, signal })).rejects.toThrow("enough");
  });
});

describe("what isn't there, or isn't a TURN server", () => {
  /** The failed steps with their codes, and the hints, of a check. */
  async function failures(uri: string, options: Pick<CheckOptions, "stepTimeoutMs" | "resolver" | "tls"> = {}) {
    const [report] = await checkServers([uri], { ...ALICE, ...options });
    const failed = report?.steps.filter(({ status }) => status === "failed") ?? [];
    return { report, codes: failed.map(({ step, code }) => `${step} ${code}`), hints: failed.map(({ hint }) => hint) };
  }

  async function listening(server: Server): Promise<number> {
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    others.push(server);
    return (server.address() as AddressInfo).port;
  }

  test.each([
    ["udp", "binding transportFailed", "nothing listens there on UDP port"],
    ["dtls", "connect notConnected", "nothing listens there on UDP port"],
    ["tcp", "connect notConnected", "nothing listens there on TCP port"],
    ["tls", "connect notConnected", "nothing listens there on TCP port"],
    ["wss", "connect notConnected", "nothing listens there on TCP port"],
  ] as const)("nobody listens by %s: one failure, at once", async (transport, code, hint) => {
    const it = await serve();
    const uri = it.uri(transport);
    await it[Symbol.asyncDispose]();
    server = undefined;
    const { codes, hints, report } = await failures(uri);
    expect(codes).toEqual([code]);
    expect(hints[0]).toContain(hint);
    expect(report?.steps.at(-1)).toMatchObject({ status: "skipped", detail: expect.stringContaining("not tried") });
  });

  test("a UDP port that stays silent fails twice, with a hint at firewalls, and not for each step", async () => {
    const silent = createSocket("udp4");
    silent.bind(0, "127.0.0.1");
    await once(silent, "listening");
    const { codes, hints, report } = await failures(`turn:127.0.0.1:${silent.address().port}?transport=udp`, {
      stepTimeoutMs: 500,
    });
    silent.close();
    expect(codes).toEqual(["binding timeout", "challenge timeout"]);
    expect(hints[0]).toContain("a firewall may drop packets");
    expect(report?.steps[1]?.detail).toBe("no answer within 0.5 s");
  });

  test("a web server, asked by TCP, WebSocket and TLS", async () => {
    const http = await listening(createHttpServer((_request, response) => response.end("hello")));
    const { codes, hints } = await failures(`turn:127.0.0.1:${http}?transport=tcp`);
    expect(codes).toEqual(["binding transportFailed"]);
    expect(hints[0]).toContain("may speak something else than tcp");
    const web = await failures(`turn:127.0.0.1:${http}?transport=ws`);
    expect(web.codes).toEqual(["connect notConnected"]);
    const tls = await failures(`turns:127.0.0.1:${http}?transport=tcp`);
    expect(tls.codes).toEqual(["connect notConnected"]);
    expect(tls.hints[0]).toContain("may speak something else than tls");
  });

  test.each(["tls", "dtls", "wss"] as const)(
    "%s: a certificate of another authority, another name",
    async (transport) => {
      const it = await serve();
      const { codes, hints } = await failures(it.uri(transport));
      expect(codes).toEqual(["connect certificateRejected"]);
      expect(hints[0]).toContain("the certificate must be for 127.0.0.1 and of an authority that is trusted");
      const elsewhere = it.uri(transport, "other.example");
      const resolver = { addresses: async () => ["127.0.0.1"], srv: async () => [], naptr: async () => [] };
      const named = await failures(elsewhere, { resolver, tls: { ca: authority.ca } });
      expect(named.codes).toEqual(["connect certificateRejected"]);
      expect(named.hints[0]).toContain("for other.example");
      const mistake = checkServers([it.uri(transport)], { ...ALICE, tls: { ca: certificate.key } });
      await expect(mistake).rejects.toThrow("Cannot use ca: expected certificates as PEM");
    },
  );

  test("no credential, a wrong one, a forbidden peer: each has its hint", async () => {
    const it = await serve();
    const [bare] = await checkServers([it.uri("udp")]);
    expect(bare?.steps[3]).toMatchObject({ code: "credentialsRequired", hint: expect.stringContaining("--username") });
    const [wrong] = await checkServers([it.uri("udp")], { ...ALICE, credential: "no" });
    expect(wrong?.steps[3]).toMatchObject({ code: "unauthenticated", hint: expect.stringContaining("expired") });
    const [peer] = await checkServers([it.uri("udp")], { ...ALICE, peer: "10.0.0.1:9" });
    expect(peer?.steps[4]).toMatchObject({ serverCode: 403, hint: expect.stringContaining("--peer") });
  });
});

test("the table for people, and JSON for programs", () => {
  const skipped = { status: "skipped", milliseconds: 0, detail: "not tried, because binding failed" } as const;
  const reports: CheckReport[] = [
    {
      uri: "turn:relay.example?transport=udp",
      transport: "udp",
      server: "192.0.2.1:3478",
      ok: false,
      steps: [
        { step: "connect", status: "passed", milliseconds: 0.44, detail: "" },
        {
          step: "binding",
          status: "failed",
          milliseconds: 15_000,
          detail: "no answer within 15 s",
          code: "timeout",
          hint: "is it open?",
        },
        { step: "challenge", ...skipped },
        { step: "allocate", ...skipped },
      ],
    },
  ];
  expect(formatCheckReports(reports, { color: false })).toBe(
    [
      "turn:relay.example?transport=udp  (udp to 192.0.2.1:3478)",
      "  ok    connect         0.4 ms",
      "  FAIL  binding     15000.0 ms  no answer within 15 s",
      "        hint: is it open?",
      "  -     challenge, allocate: not tried, because binding failed",
      "",
      "1 transport: 1 failed",
      "",
    ].join("\n"),
  );
  expect(formatCheckReports(reports, { color: true })).toContain("\u001b[31mFAIL\u001b[39m");
  expect(JSON.parse(checkReportsJson(reports))).toMatchObject({
    ok: false,
    checks: [{ server: "192.0.2.1:3478", steps: [{}, { code: "timeout" }, { step: "challenge" }, {}] }],
  });
});
