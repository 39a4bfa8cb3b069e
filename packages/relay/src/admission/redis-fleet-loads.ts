import { type Logger, silentLogger } from "../logger.ts";
import { SampledLog } from "../sampled-log.ts";
import type { FleetRelay, RedirectTarget } from "./redirect.ts";
import { connectRedis, type RedisClient, within } from "./redis-connection.ts";

/** What {@link RedisFleetLoads} is made with. */
export interface RedisFleetLoadsOptions {
  /** As for `RedisAdmissionStore`. */
  readonly url: string;
  /** Before every key. Relays that share a prefix are one fleet. Default `turnpike`. */
  readonly prefix?: string;
  /** Names this relay; unique in the fleet and in time. */
  readonly relayId: string;
  /** Where the others send clients for this relay. */
  readonly own: RedirectTarget;
  /** Its living allocations; undefined while it takes no more. */
  readonly allocations: () => number | undefined;
  /** How often loads are told and read. What nobody repeats is forgotten after three times that. Default 2. */
  readonly intervalSeconds?: number;
  readonly logger?: Logger;
}

/**
 * How full the relays of a fleet are, told to each other by Redis or Valkey: `relays` is for `redirectToLeastLoaded`. While
 * the server can't be reached nobody is sent elsewhere.
 */
export class RedisFleetLoads {
  readonly #options: RedisFleetLoadsOptions;
  readonly #client: RedisClient;
  readonly #key: string;
  readonly #intervalMs: number;
  readonly #log: SampledLog;
  #relays: readonly FleetRelay[] = [];
  #timer: NodeJS.Timeout | undefined;
  #telling: Promise<void> = Promise.resolve();
  #closed = false;

  private constructor(options: RedisFleetLoadsOptions, intervalSeconds: number, client: RedisClient) {
    this.#options = options;
    this.#client = client;
    this.#key = `{${options.prefix ?? "turnpike"}}:loads`;
    this.#intervalMs = intervalSeconds * 1000;
    this.#log = new SampledLog({ logger: options.logger ?? silentLogger, monotonicMs: () => performance.now() });
  }

  /** Connects, tells and reads. Rejects if the server can't be reached, or the URL is none. */
  static async connect(options: RedisFleetLoadsOptions): Promise<RedisFleetLoads> {
    const { intervalSeconds = 2 } = options;
    if (!(intervalSeconds > 0)) throw new RangeError(`Cannot tell loads every ${intervalSeconds} s`);
    const made: { loads?: RedisFleetLoads } = {};
    const client = await connectRedis(options.url, (error) => {
      if (made.loads !== undefined) made.loads.#reportAway(error);
    });
    made.loads = new RedisFleetLoads(options, intervalSeconds, client);
    try {
      await made.loads.#tell();
    } catch (error) {
      client.destroy();
      throw error;
    }
    made.loads.#later();
    return made.loads;
  }

  /** The others, as they told last; a function by itself, to be passed on. */
  readonly relays = (): readonly FleetRelay[] => this.#relays;

  /** Tells the others that this relay is gone. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#relays = [];
    await this.#telling;
    await within(this.#client.hDel(this.#key, this.#options.relayId), this.#intervalMs).catch(() => {});
    this.#client.destroy();
  }

  #later(): void {
    this.#timer = setTimeout(() => {
      this.#telling = this.#tell().catch((error: unknown) => {
        this.#relays = [];
        this.#reportAway(error);
      });
      void this.#telling.then(() => {
        if (!this.#closed) this.#later();
      });
    }, this.#intervalMs).unref();
  }

  async #tell(): Promise<void> {
    const { relayId, own, allocations } = this.#options;
    const living = allocations();
    const told = living === undefined ? "" : JSON.stringify({ ...own, allocations: living });
    const call = this.#client.eval(TELL, {
      keys: [this.#key],
      arguments: [relayId, told, String(Math.ceil(3 * this.#intervalMs))],
    });
    const answer = await within(call, this.#intervalMs);
    this.#relays = (Array.isArray(answer) ? answer : []).flatMap((each) => relayOf(String(each)));
  }

  #reportAway(error: unknown): void {
    if (!this.#closed)
      this.#log.error({ err: error }, "The loads of the fleet are not known: nobody is sent elsewhere");
  }
}

/** What another relay said of itself; nothing if it is of another version that says it in another way. */
function relayOf(text: string): readonly FleetRelay[] {
  const told: unknown = JSON.parse(text);
  if (typeof told !== "object" || told === null || !("servers" in told) || !("allocations" in told)) return [];
  const { servers, allocations } = told;
  if (!Array.isArray(servers) || typeof allocations !== "number") return [];
  const domain = "domain" in told && typeof told.domain === "string" ? { domain: told.domain } : {};
  return [{ servers: servers.map(String), allocations, ...domain }];
}

/**
 * KEYS: a hash of what each relay said, after the time until which it holds. ARGV: relay, what it says (nothing: it takes
 * no more), how long that holds in milliseconds. Returns what the others say.
 */
const TELL = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[2] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%d ', now + ARGV[3]) .. ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
local said = redis.call('HGETALL', KEYS[1])
local others = {}
for i = 1, #said, 2 do
  local holds, text = string.match(said[i + 1], '^(%d+) (.*)$')
  if not holds or tonumber(holds) < now then
    redis.call('HDEL', KEYS[1], said[i])
  elseif said[i] ~= ARGV[1] then
    others[#others + 1] = text
  end
end
return others
`;
