import { createSocket } from "node:dgram";
import { once } from "node:events";
import {
  checkReportsJson,
  checkServers,
  formatCheckReports,
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

beforeAll(() => {
  authority = new TestAuthority();
  certificate = authority.issue(["127.0.0.1"]);
});
afterEach(async () => {
  await server?.[Symbol.asyncDispose]();
  server = undefined;
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

test("the table for people, and JSON for programs", () => {
  const reports: CheckReport[] = [
    {
      uri: "turn:relay.example?transport=udp",
      transport: "udp",
      server: "192.0.2.1:3478",
      ok: false,
      steps: [
        { step: "connect", status: "passed", milliseconds: 0.44, detail: "" },
        { step: "binding", status: "failed", milliseconds: 39_500, detail: "Cannot bind: no answer (7 transmissions)" },
        { step: "challenge", status: "skipped", milliseconds: 0, detail: "binding failed" },
      ],
    },
  ];
  expect(formatCheckReports(reports, { color: false })).toBe(
    [
      "turn:relay.example?transport=udp  (udp to 192.0.2.1:3478)",
      "  ok    connect         0.4 ms",
      "  FAIL  binding     39500.0 ms  Cannot bind: no answer (7 transmissions)",
      "  -     challenge               binding failed",
      "",
      "1 transport: 1 of 1 failed",
      "",
    ].join("\n"),
  );
  expect(formatCheckReports(reports, { color: true })).toContain("\u001b[31mFAIL\u001b[39m");
  expect(JSON.parse(checkReportsJson(reports))).toMatchObject({ ok: false, checks: [{ server: "192.0.2.1:3478" }] });
});
