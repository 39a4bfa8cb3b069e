import { type Logger, silentLogger } from "../logger.ts";
import { SampledLog } from "../sampled-log.ts";
import type { AdmissionStore, Reservation, Reserved } from "./admission-store.ts";
import { connectRedis, type RedisClient, within } from "./redis-connection.ts";

/** What {@link RedisAdmissionStore} is made with. */
export interface RedisAdmissionStoreOptions {
  /** `redis://HOST:PORT`, `rediss://…`, with user, password and database if needed. Valkey speaks the same protocol. */
  readonly url: string;
  /** Before every key. Relays that share a prefix share quotas. Default `turnpike`. */
  readonly prefix?: string;
  /** A relay that dies holds its shares for so long. Renewed three times as often. Default 30 seconds. */
  readonly leaseSeconds?: number;
  /** How long an answer of the server may take. Default 1,000 milliseconds. */
  readonly timeoutMs?: number;
  readonly logger?: Logger;
}

/**
 * Quotas of a fleet of relays, in Redis or Valkey. Each quota is a sorted set of leases by the time that they end at, on
 * the server's clock. A lease that is not renewed ends by itself: a relay that dies frees its shares.
 *
 * Checking and taking are one atomic script. All keys of a prefix have one hash tag, and so one slot of a cluster.
 */
export class RedisAdmissionStore implements AdmissionStore {
  readonly #client: RedisClient;
  readonly #prefix: string;
  readonly #leaseMs: number;
  readonly #timeoutMs: number;
  readonly #log: SampledLog;
  readonly #leases = new Map<string, { readonly keys: readonly string[]; committed: boolean }>();
  /** Given back, but the server could not be told. */
  readonly #unreleased = new Map<string, readonly string[]>();
  readonly #timer: NodeJS.Timeout;
  #renewing: Promise<void> = Promise.resolve();
  #closed = false;

  private constructor(options: RedisAdmissionStoreOptions, leaseSeconds: number, client: RedisClient) {
    this.#leaseMs = Math.ceil(leaseSeconds * 1000);
    this.#timeoutMs = options.timeoutMs ?? 1000;
    this.#prefix = `{${options.prefix ?? "turnpike"}}:quota:`;
    this.#log = new SampledLog({ logger: options.logger ?? silentLogger, monotonicMs: () => performance.now() });
    this.#client = client;
    this.#timer = setInterval(() => {
      this.#renewing = this.#renewing.then(() => this.#renew());
    }, this.#leaseMs / 3);
    this.#timer.unref();
  }

  /** Connects. Rejects if the server can't be reached, or the URL is none. */
  static async connect(options: RedisAdmissionStoreOptions): Promise<RedisAdmissionStore> {
    const leaseSeconds = options.leaseSeconds ?? 30;
    if (!(leaseSeconds > 0)) throw new RangeError(`Cannot lease for ${leaseSeconds} s: use a number above 0`);
    const made: { store?: RedisAdmissionStore } = {};
    const client = await connectRedis(options.url, (error) => {
      if (made.store !== undefined) made.store.#reportAway(error);
    });
    made.store = new RedisAdmissionStore(options, leaseSeconds, client);
    return made.store;
  }

  async reserve({ lease, quotas }: Reservation): Promise<Reserved> {
    const keys = quotas.map(({ key }) => this.#prefix + key);
    try {
      const full = await this.#run(RESERVE, keys, [lease, this.#leaseMs, ...quotas.map(({ limit }) => limit)]);
      const quota = quotas[Number(full) - 1];
      if (quota !== undefined) return { granted: false, full: quota.key };
    } catch (error) {
      // Whether the script ran is not known.
      this.#unreleased.set(lease, keys);
      this.#reportAway(error);
      throw error;
    }
    this.#leases.set(lease, { keys, committed: false });
    return { granted: true };
  }

  async commit(lease: string): Promise<void> {
    const held = this.#leases.get(lease);
    if (held === undefined || held.committed) return;
    held.committed = true;
    await this.#attempt(async () => {
      for (const key of held.keys) await this.#run(RENEW, [key], [this.#leaseMs, lease]);
    });
  }

  async release(lease: string): Promise<void> {
    const held = this.#leases.get(lease);
    if (held === undefined) return;
    this.#leases.delete(lease);
    this.#unreleased.set(lease, held.keys);
    await this.#attempt(() => this.#tellReleased([lease]));
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#timer);
    await this.#renewing;
    for (const [lease, { keys }] of this.#leases) this.#unreleased.set(lease, keys);
    this.#leases.clear();
    await this.#attempt(() => this.#tellReleased([...this.#unreleased.keys()]));
    this.#client.destroy();
  }

  /** Allocations that are being made are not renewed: what is never committed ends by itself. */
  async #renew(): Promise<void> {
    await this.#attempt(async () => {
      await this.#tellReleased([...this.#unreleased.keys()]);
      const leasesOf = new Map<string, string[]>();
      for (const [lease, { keys, committed }] of this.#leases) {
        if (!committed) continue;
        for (const key of keys) {
          const leases = leasesOf.get(key);
          if (leases === undefined) leasesOf.set(key, [lease]);
          else leases.push(lease);
        }
      }
      for (const [key, leases] of leasesOf) {
        for (let start = 0; start < leases.length; start += BATCH) {
          // What was released while this ran must not come back.
          const batch = leases.slice(start, start + BATCH).filter((lease) => this.#leases.has(lease));
          if (batch.length > 0) await this.#run(RENEW, [key], [this.#leaseMs, ...batch]);
        }
      }
    });
  }

  async #tellReleased(leases: readonly string[]): Promise<void> {
    const leasesOf = new Map<string, string[]>();
    for (const lease of leases) {
      for (const key of this.#unreleased.get(lease) ?? []) {
        leasesOf.set(key, [...(leasesOf.get(key) ?? []), lease]);
      }
    }
    for (const [key, members] of leasesOf) await within(this.#client.zRem(key, members), this.#timeoutMs);
    for (const lease of leases) this.#unreleased.delete(lease);
  }

  #run(script: string, keys: readonly string[], values: readonly (string | number)[]): Promise<unknown> {
    const call = this.#client.eval(script, { keys: [...keys], arguments: values.map(String) });
    return within(call, this.#timeoutMs);
  }

  async #attempt(action: () => Promise<void>): Promise<void> {
    try {
      await action();
    } catch (error) {
      this.#reportAway(error);
    }
  }

  #reportAway(error: unknown): void {
    if (!this.#closed) this.#log.error({ err: error }, "The store of quotas can't be reached");
  }
}

/** Leases that one script renews. */
const BATCH = 500;

/** The server's own clock decides: those of relays may differ. */
const NOW = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`;

/** KEYS: quotas. ARGV: lease, lease time in milliseconds, the limit of each quota. Returns 0, or the number of a full one. */
const RESERVE = `${NOW}
for i, key in ipairs(KEYS) do
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
  if not redis.call('ZSCORE', key, ARGV[1]) and redis.call('ZCARD', key) >= tonumber(ARGV[i + 2]) then
    return i
  end
end
for _, key in ipairs(KEYS) do
  redis.call('ZADD', key, now + ARGV[2], ARGV[1])
  redis.call('PEXPIRE', key, ARGV[2] * 2)
end
return 0
`;

/** KEYS: one quota. ARGV: lease time in milliseconds, leases. */
const RENEW = `${NOW}
for i = 2, #ARGV do
  redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[i])
end
redis.call('PEXPIRE', KEYS[1], ARGV[1] * 2)
return 0
`;
