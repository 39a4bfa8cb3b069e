import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OperationContext } from "@turnpike/authn";
import { prefixSubject, type Relay, type RelayOptions } from "@turnpike/relay";
import { askRelay, ControlError, ControlSocketError, followRelay, startControlSocket } from "@turnpike/relay/control";
import { afterEach, describe, expect, test } from "vitest";
import { startChild } from "../support/child.ts";
import { ALICE, allocated, BOB, bytes, keep, openClient, openPeer, startTestRelay } from "../support/relay.ts";

const directories: string[] = [];
const ctx = OperationContext.internal("test");
/** How long something may take that is there soon. */
const SOON = { timeout: 20_000 };

afterEach(() => {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
});

function socketPath(): string {
  const directory = mkdtempSync(join(tmpdir(), "turnpike-control-"));
  directories.push(directory);
  return join(directory, "control.sock");
}

async function served(options: Partial<RelayOptions> = {}): Promise<{ relay: Relay; path: string }> {
  const relay = await startTestRelay(options);
  const path = socketPath();
  keep(await startControlSocket({ path, relay }));
  return { relay, path };
}

describe("the relay's administration", () => {
  test("lists, ends one, ends all of a user, with reasons and the traffic", async () => {
    const reasons: string[] = [];
    const relay = await startTestRelay({
      events: { allocationDeleted: ({ reason, context }) => reasons.push(`${context.actor} ${reason}`) },
    });
    const [first, second, other] = [await openClient(relay), await openClient(relay), await openClient(relay, BOB)];
    const relayed = [await allocated(first), await allocated(second), await allocated(other)];
    const peer = await openPeer();
    await first.permit(peer.local);
    first.sendTo(peer.local, bytes(100));
    await peer.receive();
    const living = await relay.allocations({ user: "alice" });
    expect(living).toHaveLength(2);
    expect(living[0]).toMatchObject({
      context: { actor: "alice", relayed: [relayed[0]] },
      totals: { packetsToPeers: 1, bytesToPeers: 100 },
      permissions: 1,
    });
    expect(await relay.end(ctx, living[0]!.context.allocationId)).toBe(true);
    expect(await relay.end(ctx, living[0]!.context.allocationId)).toBe(false);
    expect(await first.refresh(600)).toBe(437);
    expect(await relay.endUser(ctx, "alice", "quota")).toBe(1);
    expect(await relay.endCredential(ctx, "no such credential")).toBe(0);
    expect(reasons).toEqual(["alice administrator", "alice quota"]);
    expect(relay.stats().allocations).toBe(1);
  });

  test("a ban ends what lives and silences what comes; another address is untouched", async () => {
    const relay = await startTestRelay({ listen: ["udp:127.0.0.1:0", "udp:[::1]:0"] });
    const [banned, other] = [await openClient(relay, ALICE, 4), await openClient(relay, ALICE, 6)];
    await allocated(banned);
    await allocated(other);
    expect(await relay.ban(ctx, { subject: prefixSubject("127.0.0.1"), seconds: 60, reason: "abuse" })).toBe(1);
    expect(relay.bans()).toMatchObject([{ subject: { prefix: "127.0.0.1/32" }, reason: "abuse" }]);
    banned.send(banned.stun.signed("allocate", []));
    expect(await other.refresh(600)).toBe("success");
    expect(banned.unread).toBe(0);
    expect(relay.unban(ctx, prefixSubject("127.0.0.1"))).toBe(true);
    await allocated(banned);
  });

  test("state is touched only with a context of who asks", async () => {
    const relay = await startTestRelay();
    const forged = { actor: { kind: "builtIn", id: "x" } } as unknown as OperationContext;
    await expect(relay.end(forged, "0-1")).rejects.toThrow("OperationContext");
    await expect(relay.endUser(forged, "a")).rejects.toThrow("OperationContext");
    await expect(relay.endCredential(forged, "a")).rejects.toThrow("OperationContext");
    const subject = { kind: "user", user: "a" } as const;
    await expect(relay.ban(forged, { subject, seconds: 1, reason: "" })).rejects.toThrow("OperationContext");
    expect(() => relay.unban(forged, subject)).toThrow("OperationContext");
  });

  test("limits can change while the relay runs; wrong ones change nothing", async () => {
    const relay = await startTestRelay({ limits: { quotas: { user: 1 } } });
    const [first, second] = [await openClient(relay), await openClient(relay)];
    await allocated(first);
    expect(await second.allocate()).toBe(486);
    expect(() => relay.configure({ quotas: { user: -1 } })).toThrow(RangeError);
    for (const limits of [
      { totalRate: { bytesPerSecond: 0 } },
      { userRate: { packetsPerSecond: -1 } },
      { allocationRate: { burstSeconds: Number.NaN } },
      { maxLifetimeSeconds: 0 },
      { unauthenticatedBytesPerSecond: -1 },
      { perSource: { requestsPerSecond: 0 } },
      { penalties: { capacity: 0 } },
      { quotas: { ipv4PrefixLength: 33 } },
    ]) {
      expect(() => relay.configure({ quotas: { user: 5 }, ...limits })).toThrow(RangeError);
    }
    expect(await second.allocate()).toBe(486);
    relay.configure({ quotas: { user: 2 }, maxPermissionsPerAllocation: 0 });
    await allocated(second);
    expect(await second.permit((await openPeer()).local)).toBe(508);
    relay.configure({});
    expect(await second.permit((await openPeer()).local)).toBe("success");
  });

  test("penalties can change while the relay runs; users are known in any spelling", async () => {
    const relay = await startTestRelay({ penalties: false });
    const guess = async (): Promise<unknown> => (await openClient(relay, { ...ALICE, password: "guess" })).allocate();
    for (let i = 0; i < 5; i++) expect(await guess()).toBe(401);
    const delay = { kind: "constant", minSeconds: 0, maxSeconds: 0 } as const;
    relay.configure({ penalties: { delay, automaticBan: { failures: 2, windowSeconds: 60, banSeconds: 60 } } });
    for (let i = 0; i < 2; i++) expect(await guess()).toBe(401);
    expect(relay.bans()).toMatchObject([{ subject: { prefix: "127.0.0.1/32" } }]);
    relay.configure({});
    const [client] = [await openClient(relay, ALICE, 6), relay.unban(ctx, prefixSubject("127.0.0.1"))];
    await allocated(client);
    expect(await relay.allocations({ user: "ALICE" })).toHaveLength(1);
    expect(await relay.ban(ctx, { subject: { kind: "user", user: "Alice" }, seconds: 60, reason: "" })).toBe(1);
    expect(relay.unban(ctx, { kind: "user", user: "aLICE" })).toBe(true);
    await allocated(client);
    expect(await relay.endUser(ctx, "\uff21lice")).toBe(1);
  });

  test("a redirect policy answers 300, also while draining", async () => {
    const relay = await startTestRelay({
      limits: { redirect: ({ load }) => (load.draining ? { servers: ["192.0.2.9:3478"] } : undefined) },
    });
    await allocated(await openClient(relay));
    void relay.drain();
    expect(await (await openClient(relay)).allocate()).toBe(300);
    expect(await (await openClient(relay, ALICE, 6)).allocate()).toBe(508);
  });
});

describe("the control socket", () => {
  test("is there for its own user only, from the first moment on", async () => {
    const { path } = await served();
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  test("allocations, kill, kill-user", async () => {
    const { relay, path } = await served();
    await allocated(await openClient(relay));
    await allocated(await openClient(relay, BOB));
    const answer = (await askRelay(path, { method: "GET", path: "/v1/allocations", query: { user: "alice" } })) as {
      allocations: { allocation: string; actor: string; transport: string }[];
    };
    expect(answer.allocations).toMatchObject([{ actor: "alice", transport: "udp" }]);
    const one = `/v1/allocations/${answer.allocations[0]?.allocation}`;
    expect(await askRelay(path, { method: "DELETE", path: one })).toEqual({ ended: 1 });
    await expect(askRelay(path, { method: "DELETE", path: one })).rejects.toMatchObject({ status: 404 });
    expect(await askRelay(path, { method: "DELETE", path: "/v1/users/bob/allocations" })).toEqual({ ended: 1 });
    expect(relay.stats().allocations).toBe(0);
  });

  test("bans", async () => {
    const { relay, path } = await served();
    const ban = (body: unknown): Promise<unknown> => askRelay(path, { method: "POST", path: "/v1/bans", body });
    await ban({ address: "192.0.2.1", seconds: 60, reason: "test" });
    await ban({ user: "mallory" });
    expect(relay.bans().map(({ reason }) => reason)).toEqual(["test", "by an administrator"]);
    expect(await askRelay(path, { method: "GET", path: "/v1/bans" })).toEqual({ bans: relay.bans() });
    const lift = { method: "DELETE", path: "/v1/bans", query: { address: "192.0.2.1" } } as const;
    await askRelay(path, lift);
    await expect(askRelay(path, lift)).rejects.toMatchObject({ status: 404 });
    for (const body of [{}, { user: "a", address: "192.0.2.1" }, { user: "a", seconds: -1 }, { user: "a", x: 1 }, 7]) {
      await expect(ban(body)).rejects.toMatchObject({ status: 400 });
    }
    await expect(ban({ address: "10.0.0.0/8" })).rejects.toThrow("expected an IP address");
  });

  test("events, as they come, by type and user, until the relay stops", async () => {
    const { relay, path } = await served();
    const query = { type: ["allocationCreated", "allocationDeleted"], user: "alice" };
    const events = followRelay(path, { method: "GET", path: "/v1/events", query });
    const first = events.next();
    // The stream is there when its answer has begun; events from before are not told.
    await expect
      .poll(async () => {
        await allocated(await openClient(relay));
        return Promise.race([first, Promise.resolve()]);
      }, SOON)
      .toMatchObject({ value: { event: "allocationCreated", actor: "alice", relayed: [expect.any(String)] } });
    await relay.stop();
    const rest: unknown[] = [];
    for await (const event of events) rest.push(event);
    expect(rest.at(-1)).toMatchObject({ event: "allocationDeleted", reason: "shutdown" });
  });

  test("what is no request of it gets an error that says so", async () => {
    const { path } = await served();
    const ask = (method: "GET" | "POST" | "DELETE", where: string): Promise<unknown> =>
      askRelay(path, { method, path: where });
    await expect(ask("GET", "/v1/nothing")).rejects.toThrow("There is no GET /v1/nothing");
    await expect(ask("GET", "/v1/allocations/1/2/3")).rejects.toMatchObject({ status: 404 });
    await expect(ask("DELETE", "/v1/users/%ZZ/allocations")).rejects.toMatchObject({ status: 400 });
    await expect(ask("GET", "/v1/events?type=nothing")).rejects.toThrow('no event "nothing"');
    await expect(ask("POST", "/v1/bans")).rejects.toThrow("no JSON");
    const status = await new Promise((resolve, reject) => {
      const large = request({ socketPath: path, method: "POST", path: "/v1/bans" }, ({ statusCode }) =>
        resolve(statusCode),
      );
      large.on("error", reject).end("x".repeat(20_000));
    });
    expect(status).toBe(413);
    expect(await ask("GET", "/v1/stats")).toMatchObject({ allocations: 0, penalties: { bans: 0 } });
  });

  test("a socket that a dead relay left is replaced; a living one and a file are not", async () => {
    const { relay, path } = await served();
    await expect(startControlSocket({ path, relay })).rejects.toThrow("another relay serves");
    const left = socketPath();
    const child = startChild({
      command: "node",
      args: ["-e", `require("http").createServer().listen(${JSON.stringify(left)}, () => console.log("there"))`],
    });
    await child.waitFor((each) => each.stdout().includes("there"), 20_000);
    child.signal("SIGKILL");
    await child.ended;
    keep(await startControlSocket({ path: left, relay }));
    const file = socketPath();
    writeFileSync(file, "");
    await expect(startControlSocket({ path: file, relay })).rejects.toThrow(ControlSocketError);
    await expect(startControlSocket({ path: `/tmp/${"x".repeat(120)}`, relay })).rejects.toThrow("107 bytes");
  });

  test("who asks where nobody is, or somebody else, is told", async () => {
    const ask = { method: "GET", path: "/v1/stats" } as const;
    await expect(askRelay(socketPath(), ask)).rejects.toThrow("no relay serves it");
    const path = socketPath();
    const other = createServer((_, response) => response.end("hello"));
    await new Promise<void>((resolve) => other.listen(path, resolve));
    await expect(askRelay(path, ask)).rejects.toThrow(ControlError);
    other.close();
  });

  test("a relay that dies while its events are followed is told of as such", async () => {
    const path = socketPath();
    const dying = createServer((request, response) => {
      response.write('{"event":"x"}\n');
      setImmediate(() => request.socket.destroy());
    });
    await new Promise<void>((resolve) => dying.listen(path, resolve));
    const events = followRelay(path, { method: "GET", path: "/v1/events" });
    const all = (async () => {
      for await (const event of events) expect(event).toEqual({ event: "x" });
    })();
    await expect(all).rejects.toThrow(ControlError);
    await expect(all).rejects.toThrow("ended, or cut the connection");
    dying.close();
  });
});
