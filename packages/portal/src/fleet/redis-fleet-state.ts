import { createClient } from "@redis/client";
import { type Logger, silentLogger } from "@turnpike/authn";
import { z } from "zod";
import {
  type AllocationChanges,
  type FleetAllocation,
  type FleetEvent,
  type FleetState,
  type LinkedRelay,
  MAX_LISTED_ALLOCATIONS,
  MemoryFleetState,
} from "./fleet-state.ts";

/** What {@link openRedisFleetState} takes. */
export interface RedisFleetOptions {
  /** `redis://` or `rediss://`. Valkey fits as well. */
  readonly url: string;
  /** Which portal this is. */
  readonly portalId: string;
  /** What keys and channels begin with. Default `turnpike:`. */
  readonly prefix?: string;
  readonly logger?: Logger;
}

/** A relay is forgotten if its portal says nothing of it for this long. */
const RELAY_SECONDS = 30;
const ALLOCATIONS_SECONDS = 60;
const COMMAND_MS = 2_000;

const presence = z.object({
  load: z.number(),
  allocations: z.number(),
  version: z.string(),
  draining: z.boolean(),
  urls: z.array(z.string()),
  hints: z.array(z.string()).optional(),
  reference: z.string().optional(),
  region: z.string().optional(),
});
const linkedRelay = z.object({
  id: z.string(),
  name: z.string(),
  portalId: z.string(),
  stampSecret: z.string(),
  urls: z.array(z.string()),
  presence: presence.optional(),
  linkedAtUnixMs: z.number(),
});
const allocation = z.object({
  id: z.string(),
  relayId: z.string(),
  actor: z.string(),
  username: z.string(),
  scheme: z.string(),
  transport: z.string(),
  client: z.string(),
  relayed: z.array(z.string()),
  created_at_unix_ms: z.number(),
});
const fleetEvents = z.object({
  portalId: z.string(),
  events: z.array(
    z.object({
      type: z.string(),
      atUnixMs: z.number(),
      relayId: z.string().optional(),
      actor: z.string().optional(),
      username: z.string().optional(),
      allocation: z.string().optional(),
      reason: z.string().optional(),
      details: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])).optional(),
    }),
  ),
});

/** Opens the state that portals share in Valkey or Redis. It needn't be there: it is found as soon as it is. */
export function openRedisFleetState(options: RedisFleetOptions): FleetState {
  return new RedisFleetState(options);
}

class RedisFleetState implements FleetState {
  readonly #client: ReturnType<typeof connect>;
  readonly #subscriber: ReturnType<typeof connect>;
  readonly #prefix: string;
  readonly #portalId: string;
  readonly #logger: Logger;
  /** What this portal knows by itself: the answer while the rest can't be asked. */
  readonly #own = new MemoryFleetState();
  /** Relays of other portals, as they were seen last. */
  #others: { readonly relays: readonly LinkedRelay[]; readonly atMs: number } = { relays: [], atMs: -Infinity };

  constructor({ url, portalId, prefix = "turnpike:", logger = silentLogger }: RedisFleetOptions) {
    this.#prefix = prefix;
    this.#portalId = portalId;
    this.#logger = logger;
    this.#client = connect(url, logger);
    this.#subscriber = connect(url, logger);
    this.#connect();
  }

  get isWhole(): boolean {
    return this.#client.isReady;
  }

  async putRelay(relay: LinkedRelay): Promise<void> {
    await this.#own.putRelay(relay);
    await this.#try(() =>
      this.#client
        .multi()
        .hSet(this.#key("relays"), relay.id, JSON.stringify(relay))
        .set(this.#key(`alive:${relay.id}`), relay.portalId, { expiration: { type: "EX", value: RELAY_SECONDS } })
        .expire(this.#key(`allocations:${relay.id}`), ALLOCATIONS_SECONDS)
        .exec(),
    );
  }

  async removeRelay(id: string, portalId: string): Promise<void> {
    await this.#own.removeRelay(id, portalId);
    await this.#try(async () => {
      // It may be linked to another portal by now.
      if ((await this.#client.get(this.#key(`alive:${id}`))) !== portalId) return;
      await this.#client
        .multi()
        .hDel(this.#key("relays"), id)
        .del(this.#key(`alive:${id}`))
        .del(this.#key(`allocations:${id}`))
        .exec();
    });
  }

  async relays(): Promise<readonly LinkedRelay[]> {
    const own = await this.#own.relays();
    const others = await this.#try(() => this.#askOthers());
    if (others !== undefined) this.#others = { relays: others, atMs: performance.now() };
    const isFresh = performance.now() - this.#others.atMs < RELAY_SECONDS * 1_000;
    const ownIds = new Set(own.map(({ id }) => id));
    return [...own, ...(isFresh ? this.#others.relays : []).filter(({ id }) => !ownIds.has(id))];
  }

  async changeAllocations(relayId: string, changes: AllocationChanges): Promise<void> {
    await this.#own.changeAllocations(relayId, changes);
    await this.#try(async () => {
      const key = this.#key(`allocations:${relayId}`);
      const multi = this.#client.multi();
      if (changes.reset) multi.del(key);
      for (const record of changes.added) multi.hSet(key, record.id, JSON.stringify({ ...record, relayId }));
      if (changes.removed.length > 0) multi.hDel(key, [...changes.removed]);
      await multi.expire(key, ALLOCATIONS_SECONDS).exec();
    });
  }

  async allocations(): Promise<readonly FleetAllocation[]> {
    const own = await this.#own.allocations();
    const ownRelays = new Set((await this.#own.relays()).map(({ id }) => id));
    const others: FleetAllocation[] = [];
    for (const { id } of await this.relays()) {
      if (ownRelays.has(id) || own.length + others.length >= MAX_LISTED_ALLOCATIONS) continue;
      const values = await this.#try(() => this.#client.hVals(this.#key(`allocations:${id}`)));
      others.push(...(values ?? []).flatMap((text) => read(allocation, text) ?? []));
    }
    return [...own, ...others].slice(0, MAX_LISTED_ALLOCATIONS);
  }

  async publish(events: readonly FleetEvent[]): Promise<void> {
    await this.#own.publish(events);
    const message = JSON.stringify({ portalId: this.#portalId, events });
    await this.#try(() => this.#client.publish(this.#key("events"), message));
  }

  onEvents(listener: (events: readonly FleetEvent[]) => void): () => void {
    return this.#own.onEvents(listener);
  }

  async poke(): Promise<void> {
    await this.#own.poke();
    await this.#try(() => this.#client.publish(this.#key("poke"), this.#portalId));
  }

  onPoke(listener: () => void): () => void {
    return this.#own.onPoke(listener);
  }

  async close(): Promise<void> {
    await this.#own.close();
    this.#client.destroy();
    this.#subscriber.destroy();
  }

  #connect(): void {
    // Both reconnect by themselves; what fails meanwhile is told by their error events.
    void this.#client.connect().catch(() => {});
    void this.#subscriber
      .connect()
      .then(async () => {
        await this.#subscriber.subscribe(this.#key("events"), (text) => {
          const message = read(fleetEvents, text);
          if (message !== undefined && message.portalId !== this.#portalId) void this.#own.publish(message.events);
        });
        await this.#subscriber.subscribe(this.#key("poke"), (portalId) => {
          if (portalId !== this.#portalId) void this.#own.poke();
        });
      })
      .catch((error: unknown) => this.#logger.warn({ error: textOf(error) }, "The fleet's channels can't be heard"));
  }

  async #askOthers(): Promise<readonly LinkedRelay[]> {
    const all = Object.values(await this.#client.hGetAll(this.#key("relays"))).flatMap(
      (text) => read(linkedRelay, text) ?? [],
    );
    if (all.length === 0) return [];
    const alive = await this.#client.mGet(all.map(({ id }) => this.#key(`alive:${id}`)));
    const relays: LinkedRelay[] = [];
    for (const [index, { presence, ...relay }] of all.entries()) {
      if (alive[index] === relay.portalId) relays.push({ ...relay, ...(presence === undefined ? {} : { presence }) });
    }
    return relays;
  }

  #key(name: string): string {
    return `${this.#prefix}${name}`;
  }

  /** What can't be asked or told at the moment is left: what counts for good stands in the database. */
  async #try<Result>(ask: () => Promise<Result>): Promise<Result | undefined> {
    if (!this.#client.isReady) return undefined;
    try {
      return await ask();
    } catch (error) {
      this.#logger.warn({ error: textOf(error) }, "The fleet's shared state could not be asked");
      return undefined;
    }
  }
}

function connect(url: string, logger: Logger) {
  const client = createClient({
    url,
    disableOfflineQueue: true,
    socket: { connectTimeout: COMMAND_MS, reconnectStrategy: (retries) => Math.min(50 * 2 ** retries, 1_000) },
    commandOptions: { timeout: COMMAND_MS },
  });
  let isAway = false;
  client.on("error", (error) => {
    if (!isAway) logger.warn({ error: textOf(error) }, "The fleet's shared state is away");
    isAway = true;
  });
  client.on("ready", () => {
    isAway = false;
  });
  return client;
}

function read<Value>(schema: z.ZodType<Value>, text: string): Value | undefined {
  try {
    return schema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : "unknown error";
}
