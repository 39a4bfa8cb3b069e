/** A fleet of real processes on a real PostgreSQL and a real Redis, each of which is killed in turn, under load. */
import { setTimeout as sleep } from "node:timers/promises";
import { transportAddress } from "@turnpike/stun";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Child, startChild } from "../support/child.ts";
import type { AnswerBody, IceServer } from "../support/portal.ts";
import { keep } from "../support/relay.ts";
import { UdpTurnClient } from "../support/udp-turn-client.ts";
import { ensureDebianPackages } from "./support/debian.ts";
import { freePort, type KillableServer, postgresServer, redisServer } from "./support/fleet-servers.ts";

const START_MS = 60_000;
const WAIT = { timeout: 60_000, interval: 200 } as const;
const CLIENTS = 50;
const MINT_PAUSE_MS = 200;

let postgres: KillableServer;
let redis: KillableServer;
beforeAll(async () => {
  ensureDebianPackages({ packages: ["postgresql", "redis-server"], commands: ["pg_lsclusters", "redis-server"] });
  postgres = await postgresServer();
  redis = await redisServer();
});
afterAll(async () => {
  await redis.remove();
  await postgres.remove();
});

/** A process of the command, which may be killed and started again. */
class Member {
  readonly #args: readonly string[];
  readonly #isThere: (child: Child) => boolean;
  #child: Child | undefined;

  constructor(args: readonly string[], isThere: (child: Child) => boolean) {
    this.#args = args;
    this.#isThere = isThere;
    keep({ [Symbol.asyncDispose]: () => this.kill() });
  }

  get output(): string {
    return this.#child?.stdout() ?? "";
  }

  async start(): Promise<this> {
    this.#child = startChild({ command: "turnpike", args: this.#args });
    await this.#child.waitFor(this.#isThere, START_MS);
    return this;
  }

  async kill(): Promise<void> {
    this.#child?.signal("SIGKILL");
    await this.#child?.ended;
  }
}

interface Answer {
  readonly status: number;
  readonly body: AnswerBody;
}

/** A portal, by its URL. Status 0: it isn't there. */
async function ask(url: string, token: string, method: string, path: string, body?: unknown): Promise<Answer> {
  try {
    const response = await fetch(url + path, {
      method,
      headers: {
        authorization: `Bearer ${token}`,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, body: text === "" ? ({} as AnswerBody) : JSON.parse(text) };
  } catch {
    return { status: 0, body: {} as AnswerBody };
  }
}

/** Mints five times a second, at one portal and the other, and remembers what was accepted. */
class Minter {
  readonly accepted: IceServer[] = [];
  readonly statuses = new Set<number>();
  readonly #mintedAtMs: number[] = [];
  #isOver = false;
  readonly #work: Promise<void>;

  constructor(mint: (count: number) => Promise<Answer>) {
    this.#work = this.#run(mint);
    keep({ [Symbol.asyncDispose]: () => this.stop() });
  }

  /** When something was minted at that portal, of what was asked for after `sinceMs`. */
  mintedAfter(sinceMs: number): number | undefined {
    return this.#mintedAtMs.find((atMs) => atMs > sinceMs);
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#work;
  }

  async #run(mint: (count: number) => Promise<Answer>): Promise<void> {
    for (let count = 0; !this.#isOver; count++) {
      const { status, body } = await mint(count);
      this.statuses.add(status);
      if (status === 201) {
        this.#mintedAtMs.push(performance.now());
        this.accepted.push(body.iceServers[0]!);
      }
      await sleep(MINT_PAUSE_MS);
    }
  }
}

async function clientOf({ urls, username = "", credential = "" }: IceServer): Promise<UdpTurnClient> {
  const [, port = ""] = /^turn:127\.0\.0\.1:(\d+)/.exec(urls[0]!) ?? [];
  const server = transportAddress("127.0.0.1", Number(port));
  return keep(await UdpTurnClient.open(server, { username, password: credential }));
}

it("loses no allocation of a living relay and nothing it accepted, whoever is killed, and mints again by itself", async () => {
  const urls = [`http://127.0.0.1:${await freePort()}`, `http://127.0.0.1:${await freePort()}`] as const;
  const portals: Member[] = [];
  for (const url of urls) {
    const args = ["portal", `--portal-listen=${url.slice(7)}`, `--store=${postgres.url}`, `--fleet=${redis.url}`];
    portals.push(await new Member(args, (child) => child.stdout().includes("The portal serves at")).start());
  }
  const [, admin = ""] = /(tp_[\w-]{43})/.exec(portals[0]!.output) ?? [];
  const request = (portal: number, method: string, path: string, body?: unknown): Promise<Answer> =>
    ask(urls[portal % 2]!, admin, method, path, body);

  const relays: Member[] = [];
  for (const [index, name] of ["a", "b", "c"].entries()) {
    const { token } = (await request(0, "POST", "/v1/relays", { name })).body;
    const args = [
      "relay",
      "--listen=udp:127.0.0.1:0",
      "--relay-address=127.0.0.1",
      "--metrics=off",
      "--health=off",
      `--portal=${urls[index === 2 ? 1 : 0]}`,
      `--token=${token}`,
      `--quota-store=${redis.url}`,
      "--log-format=json",
    ];
    relays.push(await new Member(args, (child) => child.stderr().includes("The relay is serving")).start());
  }
  const linked = async (portal: number): Promise<number> =>
    ((await request(portal, "GET", "/v1/relays")).body.relays ?? []).filter(
      (relay) => relay.linked && relay.urls.length > 0,
    ).length;
  for (const portal of [0, 1]) await expect.poll(() => linked(portal), WAIT).toBe(3);

  // A quota of 3 is 3 allocations, whichever portal mints and whichever relay is chosen.
  await request(0, "POST", "/v1/users", { id: "alice", roles: [], maxAllocations: 3 });
  const ofAlice: IceServer[] = [];
  for (let count = 0; count < 5; count++) {
    const { iceServers } = (await request(count, "POST", "/v1/credentials", { user: "alice", label: "phone" })).body;
    ofAlice.push(iceServers[count % 2]!);
  }
  const outcomes = [];
  for (const server of ofAlice) outcomes.push(await (await clientOf(server)).allocate());
  const isAllocation = expect.objectContaining({ family: 4 });
  expect(outcomes).toEqual([isAllocation, isAllocation, isAllocation, 486, 486]);
  expect((await request(1, "POST", `/v1/credentials/${ofAlice[0]!.username}/revoke`)).status).toBe(204);
  for (const portal of [0, 1]) {
    const left = async (): Promise<number> =>
      (await request(portal, "GET", "/v1/allocations?user=alice")).body.allocations.length;
    await expect.poll(left, WAIT).toBe(0);
  }

  const clients: { readonly server: string; readonly client: UdpTurnClient }[] = [];
  for (let count = 0; count < CLIENTS; count++) {
    const { iceServers } = (await request(count, "POST", "/v1/credentials", { user: `u${count % 5}` })).body;
    const client = await clientOf(iceServers[0]!);
    expect(await client.allocate()).toEqual(isAllocation);
    clients.push({ server: iceServers[0]!.urls[0]!, client });
  }
  const dead = new Set<string>();
  const allLive = async (): Promise<void> => {
    for (const { server, client } of clients) if (!dead.has(server)) expect(await client.refresh(600)).toBe("success");
  };
  const minters = [0, 1].map(
    (portal) => new Minter(() => request(portal, "POST", "/v1/credentials", { user: "load", label: "load" })),
  );
  /** Both portals mint again; how long after. */
  const recovered = async (what: string, sinceMs: number): Promise<void> => {
    const times = [];
    for (const minter of minters) {
      await expect.poll(() => minter.mintedAfter(sinceMs), WAIT).toBeDefined();
      times.push(`${Math.round(minter.mintedAfter(sinceMs)! - sinceMs)} ms`);
    }
    console.info(`minting after ${what}: ${times.join(" and ")} at the two portals`);
  };

  // A portal: its relays serve on, the other one mints; then it comes back, and its relays with it.
  await portals[0]!.kill();
  const killedAtMs = performance.now();
  await expect.poll(() => minters[1]!.mintedAfter(killedAtMs), WAIT).toBeDefined();
  console.info(
    `minting at the other portal ${Math.round(minters[1]!.mintedAfter(killedAtMs)! - killedAtMs)} ms after one was killed`,
  );
  await allLive();
  await portals[0]!.start();
  await recovered("a killed portal was back", performance.now());
  for (const portal of [0, 1]) await expect.poll(() => linked(portal), WAIT).toBe(3);
  console.info(`all relays linked ${Math.round(performance.now() - killedAtMs)} ms after a portal was killed`);
  await allLive();

  // A relay: its own allocations are gone, and nobody else's; nobody is sent to it until it is back.
  const own = async (): Promise<readonly string[]> => {
    const { relays: all } = (await request(1, "GET", "/v1/relays")).body;
    return all.find(({ name }) => name === "c")!.urls;
  };
  for (const url of await own()) dead.add(url);
  expect(dead.size).toBeGreaterThan(0);
  await relays[2]!.kill();
  const withoutRelayMs = performance.now();
  for (const portal of [0, 1]) await expect.poll(() => linked(portal), WAIT).toBe(2);
  await recovered("a relay was killed", withoutRelayMs);
  const sent = (await request(0, "POST", "/v1/credentials", {})).body.iceServers;
  for (const { urls: given } of sent) for (const url of given) expect(dead).not.toContain(url);
  await allLive();
  await relays[2]!.start();
  for (const portal of [0, 1]) await expect.poll(() => linked(portal), WAIT).toBe(3);
  console.info(`the relay served again ${Math.round(performance.now() - withoutRelayMs)} ms after it was killed`);

  for (const [name, server] of [["Redis", redis] as const, ["PostgreSQL", postgres] as const]) {
    await server.kill();
    await allLive();
    await server.start();
    await recovered(`${name} was back`, performance.now());
    for (const portal of [0, 1]) await expect.poll(() => linked(portal), WAIT).toBe(3);
    await allLive();
  }

  await Promise.all(minters.map((minter) => minter.stop()));
  // An answer is an answer, or says that it can't be done at the moment.
  for (const { statuses } of minters) expect([0, 201, 503]).toEqual(expect.arrayContaining([...statuses]));
  const accepted = minters.flatMap((minter) => minter.accepted.map(({ username }) => username!));
  expect(accepted.length).toBeGreaterThan(20);
  const kept = new Set<unknown>();
  for (let before: number | undefined; ;) {
    const query = `?limit=1000${before === undefined ? "" : `&before=${before}`}`;
    const { entries } = (await request(0, "GET", `/v1/audit${query}`)).body;
    if (entries.length === 0) break;
    for (const { action, details } of entries) {
      if (action === "credential.minted") for (const name of details.usernames) kept.add(name);
    }
    before = entries.at(-1)!.seq;
  }
  expect(accepted.filter((username) => !kept.has(username))).toEqual([]);
  console.info(`${accepted.length} credentials were accepted, none was lost`);
}, 360_000);
