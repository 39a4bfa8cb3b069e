import { describe, expect, test } from "vitest";
import type { FetchInit, FetchResponse } from "./ambient.ts";
import {
  IceServersUnavailableError,
  type IceServersRefresher,
  type PeerConnectionLike,
  refreshIceServers,
  type RefreshOptions,
} from "./refresh.ts";

const NOW = 1_700_000_000_000;

/** A clock that jumps, and a service that answers from a list. */
class World {
  nowMs = NOW;
  readonly answers: (() => FetchResponse | Promise<FetchResponse>)[] = [];
  readonly fetched: { atMs: number; url: string; init: FetchInit<AbortSignal> }[] = [];
  readonly timers = new Map<number, { dueMs: number; callback: () => void }>();
  #timerIds = 0;

  readonly world: NonNullable<RefreshOptions["world"]> = {
    nowUnixMs: () => this.nowMs,
    random: () => 1,
    setTimeout: (callback, delayMs) => {
      this.#timerIds += 1;
      this.timers.set(this.#timerIds, { dueMs: this.nowMs + delayMs, callback });
      return this.#timerIds;
    },
    clearTimeout: (timer) => this.timers.delete(Number(timer)),
    fetch: async (url, init) => {
      this.fetched.push({ atMs: this.nowMs - NOW, url, init });
      return (this.answers.shift() ?? (() => answerOf(3600)))();
    },
  };

  /** Lets time pass timer by timer, and everything asynchronous settle in between. */
  async pass(ms: number): Promise<void> {
    const endMs = this.nowMs + ms;
    await settle();
    for (;;) {
      const [next] = [...this.timers]
        .filter(([, { dueMs }]) => dueMs <= endMs)
        .toSorted((a, b) => a[1].dueMs - b[1].dueMs);
      if (next === undefined) break;
      this.timers.delete(next[0]);
      this.nowMs = Math.max(this.nowMs, next[1].dueMs);
      next[1].callback();
      await settle();
    }
    this.nowMs = endMs;
  }
}

describe("refreshIceServers", () => {
  test("fetches a new set a minute before the end, again and again", async () => {
    const world = new World();
    const seen: number[] = [];
    const refresher = start(world, { onIceServers: ({ expiresAtUnixMs }) => seen.push(expiresAtUnixMs - NOW) });
    await world.pass(0);
    expect(await refresher.ready).toEqual({ iceServers: SERVERS, expiresAtUnixMs: NOW + 3_600_000 });
    await world.pass(2 * 3_600_000);
    expect(world.fetched.map(({ atMs }) => atMs / 1000)).toEqual([0, 3540, 7080]);
    expect(seen.map((ms) => ms / 1000)).toEqual([3600, 7140, 10_680]);
    expect(refresher.current?.expiresAtUnixMs).toBe(NOW + 10_680_000);
    expect(world.timers.size).toBe(1);
    refresher.stop();
    expect(world.timers.size).toBe(0);
  });

  test("asks by POST without a cache unless told otherwise", async () => {
    const world = new World();
    const stop = (refresher: IceServersRefresher) => refresher.stop();
    stop(start(world));
    stop(start(world, { source: "/other", request: { method: "GET", headers: { authorization: "Bearer x" } } }));
    expect(world.fetched).toMatchObject([
      { url: "/v1/credentials", init: { method: "POST", cache: "no-store", credentials: "same-origin" } },
      { url: "/other", init: { method: "GET", headers: { accept: "application/json", authorization: "Bearer x" } } },
    ]);
  });

  test.each<[string, { readonly [key: string]: unknown; readonly username?: string }, number]>([
    ["the duration", { ttl: 600, expiresAt: 1 }, 540],
    ["the end as text", { expiresAt: "2023-11-14T22:23:20Z" }, 540],
    ["the end in seconds", { expiresAt: NOW / 1000 + 600 }, 540],
    ["the user name", { username: `${String(NOW / 1000 + 600)}:alice` }, 540],
    ["the earlier of both", { username: `${String(NOW / 1000 + 600)}:alice`, expiresAt: NOW / 1000 + 900 }, 540],
    ["nothing: an hour", {}, 3540],
    ["a short life: half of it", { ttl: 60 }, 30],
    ["a very short life: a quarter of a minute", { ttl: 1 }, 15],
    ["a clock that is ahead: a quarter of a minute", { expiresAt: NOW / 1000 - 7200 }, 15],
  ])("knows the time of the next fetch by %s", async (_by, answer, seconds) => {
    const world = new World();
    const iceServers = [{ urls: ["turn:a.example"], username: answer.username ?? "u", credential: "p" }];
    world.answers.push(() => response({ ...answer, iceServers }));
    const refresher = start(world);
    await world.pass(seconds * 1000 - 1);
    expect(world.fetched).toHaveLength(1);
    await world.pass(1);
    expect(world.fetched).toHaveLength(2);
    refresher.stop();
  });

  test("hands every set to the connections, and restarts ICE of those that have begun", async () => {
    const world = new World();
    const begun = new Connection({ begun: true });
    const fresh = new Connection({ begun: false });
    const refresher = start(world, { peerConnections: [begun, fresh] });
    await world.pass(0);
    const configuration = { iceTransportPolicy: "relay", iceServers: SERVERS };
    expect(begun.calls).toEqual([configuration, "restartIce"]);
    expect(fresh.calls).toEqual([configuration]);

    const late = new Connection({ begun: true });
    refresher.attach(late);
    refresher.attach(late);
    expect(late.calls).toEqual([configuration, "restartIce"]);

    begun.signalingState = "closed";
    refresher.detach(fresh);
    await world.pass(3_540_000);
    expect(world.fetched).toHaveLength(2);
    expect(begun.calls).toHaveLength(2);
    expect(fresh.calls).toHaveLength(1);
    expect(late.calls).toHaveLength(4);

    refresher.stop();
    refresher.attach(fresh);
    expect(fresh.calls).toHaveLength(1);
  });

  test("leaves ICE alone if told so, and survives a connection that refuses", async () => {
    const world = new World();
    const errors: unknown[] = [];
    const refusing = new Connection({ begun: true, refuses: true });
    const other = new Connection({ begun: true });
    const refresher = start(world, {
      peerConnections: [refusing, other],
      restartIce: false,
      onError: (error) => errors.push(error),
    });
    await world.pass(0);
    expect(other.calls).toHaveLength(1);
    expect(errors).toEqual([new TypeError("refused")]);
    await world.pass(3_540_000);
    expect(errors).toHaveLength(1);
    refresher.stop();
  });

  test("retries with growing pauses, then goes on as before", async () => {
    const world = new World();
    const failures: (readonly [string, number, number])[] = [];
    world.answers.push(
      () => Promise.reject(new TypeError("network is down")),
      () => response({}, 500),
      () => response("rubbish"),
      ...Array.from({ length: 5 }, () => () => response({}, 404)),
    );
    const refresher = start(world, {
      onError: (error, { attempt, retryInMs }) => failures.push([String(error), attempt, retryInMs]),
    });
    await world.pass(180_000);
    expect(failures.map(([error]) => error).slice(0, 3)).toEqual([
      "TypeError: network is down",
      "IceServersUnavailableError: Cannot fetch ICE servers: the source answered with status 500",
      "TypeError: Cannot read ICE servers: the answer is neither an object nor an array",
    ]);
    expect(failures.map(([, attempt]) => attempt)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(failures.map(([, , ms]) => ms / 1000)).toEqual([1, 2, 4, 8, 16, 32, 60, 60]);
    expect(refresher.current).toBeUndefined();
    await world.pass(10_000);
    expect(refresher.current).toBeDefined();
    refresher.stop();
  });

  test.each([
    ["30", 30],
    ["0", 1],
    ["99999999", 3600],
    ["-1", 1],
    ["Wed, 21 Oct 2026 07:28:00 GMT", 1],
  ])("obeys Retry-After: %s", async (retryAfter, seconds) => {
    const world = new World();
    const pauses: number[] = [];
    world.answers.push(() => response({}, 503, retryAfter));
    const refresher = start(world, {
      onError: (error, { retryInMs }) => {
        expect(error).toBeInstanceOf(IceServersUnavailableError);
        pauses.push(retryInMs / 1000);
      },
    });
    await world.pass(0);
    expect(pauses).toEqual([seconds]);
    refresher.stop();
  });

  test("gives up on a source that does not answer, and never takes its late answer", async () => {
    const world = new World();
    const late = Promise.withResolvers<FetchResponse>();
    const failures: string[] = [];
    world.answers.push(() => late.promise);
    const refresher = start(world, { timeoutSeconds: 5, onError: (error) => failures.push(String(error)) });
    await world.pass(4999);
    expect(world.fetched[0]?.init.signal.aborted).toBe(false);
    await world.pass(1);
    expect(world.fetched[0]?.init.signal.aborted).toBe(true);
    expect(failures).toEqual(["Error: The source of ICE servers did not answer in time"]);
    late.resolve(response({ iceServers: [] }));
    await world.pass(0);
    expect(refresher.current).toBeUndefined();
    await world.pass(1000);
    expect(refresher.current?.iceServers).toEqual(SERVERS);
    refresher.stop();
  });

  test("fetches at once when asked, but never twice at a time", async () => {
    const world = new World();
    const refresher = start(world);
    refresher.refresh();
    await world.pass(1000);
    expect(world.fetched).toHaveLength(1);
    refresher.refresh();
    refresher.refresh();
    await world.pass(0);
    expect(world.fetched).toHaveLength(2);
    refresher.stop();
    refresher.refresh();
    expect(world.fetched).toHaveLength(2);
  });

  test("fetches right after a sleep during which the timers stood still", async () => {
    const world = new World();
    const refresher = start(world);
    await world.pass(0);
    const before = [...world.timers.values()][0]?.dueMs ?? 0;
    expect(before - world.nowMs).toBeLessThanOrEqual(60_000);
    world.nowMs += 8 * 3_600_000;
    await world.pass(0);
    expect(world.fetched).toHaveLength(2);
    refresher.stop();
  });

  test("leaves nothing behind when it is stopped while it fetches", async () => {
    const world = new World();
    const answer = Promise.withResolvers<FetchResponse>();
    world.answers.push(() => answer.promise);
    const refresher = start(world, {
      onIceServers: () => expect.unreachable(),
      onError: () => expect.unreachable(),
    });
    refresher.stop();
    refresher.stop();
    expect(world.timers.size).toBe(0);
    expect(world.fetched[0]?.init.signal.aborted).toBe(true);
    answer.resolve(answerOf(60));
    await expect(refresher.ready).rejects.toThrow("was stopped before the first set came");
    await world.pass(100_000);
    expect(world.timers.size).toBe(0);
  });

  test("takes a function for the source, and the runtime's own world", async () => {
    const refresher = refreshIceServers({ source: async () => Promise.resolve({ iceServers: SERVERS, ttl: 60 }) });
    expect((await refresher.ready).iceServers).toEqual(SERVERS);
    refresher.stop();
  });

  test.each([
    { refreshBeforeSeconds: 0 },
    { assumedTtlSeconds: -1 },
    { timeoutSeconds: Number.NaN },
    { timeoutSeconds: Infinity },
  ])("refuses %j", (wrong) => {
    expect(() => start(new World(), wrong)).toThrow(RangeError);
  });
});

test("an RTCPeerConnection of a browser is one to hand servers to", () => {
  const accepts = (peerConnection: RTCPeerConnection): PeerConnectionLike => peerConnection;
  expect(accepts).toBeTypeOf("function");
});

const SERVERS = [{ urls: ["turn:a.example"], username: "u", credential: "p" }];

function start(world: World, options: Partial<RefreshOptions> = {}): IceServersRefresher {
  return refreshIceServers({ source: "/v1/credentials", world: world.world, ...options });
}

function answerOf(ttl: number): FetchResponse {
  return response({ iceServers: SERVERS, ttl });
}

function response(body: unknown, status = 200, retryAfter: string | null = null): FetchResponse {
  const headers = { get: (name: string) => (name === "retry-after" ? retryAfter : null) };
  return { ok: status < 300, status, headers, json: async () => Promise.resolve(body) };
}

async function settle(): Promise<void> {
  await new Promise((resolve) => {
    setImmediate(resolve);
  });
}

class Connection implements PeerConnectionLike {
  signalingState = "stable";
  readonly localDescription: unknown;
  readonly calls: unknown[] = [];
  readonly #refuses: boolean;

  constructor(options: { readonly begun: boolean; readonly refuses?: boolean }) {
    this.localDescription = options.begun ? { type: "offer" } : null;
    this.#refuses = options.refuses ?? false;
  }

  getConfiguration(): object {
    return { iceTransportPolicy: "relay", iceServers: [] };
  }

  setConfiguration(configuration: unknown): void {
    if (this.#refuses) throw new TypeError("refused");
    this.calls.push(configuration);
  }

  restartIce(): void {
    this.calls.push("restartIce");
  }
}
