import { createClient } from "@redis/client";
import {
  decodeFlushMessage,
  encodeFlushMessage,
  type FlushBus,
  type FlushMessage,
  type FlushSubscriber,
  type Logger,
  silentLogger,
} from "@turnpike/authn";

/** What {@link RedisFlushBus} takes. */
export interface RedisFlushBusOptions {
  /** `redis://` or `rediss://`. Valkey fits as well. */
  readonly url: string;
  /** What the channel's name begins with. Default `turnpike:`. */
  readonly prefix?: string;
  readonly logger?: Logger;
}

const CONNECT_MS = 2_000;
const LONGEST_RETRY_MS = 1_000;

/**
 * Carries flushes of credential caches between the portals of a fleet. Only names travel, never a digest. Whatever
 * happens while the connection is away may be missed: once it is back, subscribers are told to forget everything.
 */
export class RedisFlushBus implements FlushBus {
  readonly #publisher: ReturnType<typeof connect>;
  readonly #listener: ReturnType<typeof connect>;
  readonly #subscribers = new Set<FlushSubscriber>();
  readonly #channel: string;
  readonly #logger: Logger;
  /** Resolves when flushes of others are heard for the first time. */
  readonly ready: Promise<void>;
  #wasHeard = false;

  constructor(options: RedisFlushBusOptions) {
    this.#channel = `${options.prefix ?? "turnpike:"}flush`;
    this.#logger = options.logger ?? silentLogger;
    this.#publisher = connect(options.url, this.#logger);
    this.#listener = connect(options.url, this.#logger);
    // The client subscribes again by itself after each reconnection.
    this.#listener.on("ready", () => {
      if (this.#wasHeard) for (const subscriber of this.#subscribers) subscriber.onGap();
      this.#wasHeard = true;
    });
    // Both reconnect by themselves; what fails meanwhile is told by their error events.
    void this.#publisher.connect().catch(() => {});
    this.ready = this.#listener
      .connect()
      .then(() => this.#listener.subscribe(this.#channel, (text) => this.#take(text)));
    this.ready.catch(() => {});
  }

  async publish(message: FlushMessage): Promise<void> {
    await this.#publisher.publish(this.#channel, encodeFlushMessage(message));
  }

  subscribe(subscriber: FlushSubscriber): () => void {
    this.#subscribers.add(subscriber);
    return () => this.#subscribers.delete(subscriber);
  }

  close(): void {
    this.#subscribers.clear();
    this.#publisher.destroy();
    this.#listener.destroy();
  }

  #take(text: string): void {
    const decoded = decodeFlushMessage(text);
    if (decoded.kind === "error") {
      // What can't be read may have been a flush.
      this.#logger.warn({ code: decoded.code }, "A flush of another portal can't be read: everything is forgotten");
      for (const subscriber of this.#subscribers) subscriber.onGap();
      return;
    }
    for (const subscriber of this.#subscribers) subscriber.onFlush(decoded.message);
  }
}

function connect(url: string, logger: Logger) {
  const client = createClient({
    url,
    disableOfflineQueue: true,
    socket: {
      connectTimeout: CONNECT_MS,
      reconnectStrategy: (retries) => Math.min(50 * 2 ** retries, LONGEST_RETRY_MS),
    },
  });
  client.on("error", (error: unknown) => {
    logger.warn({ error: error instanceof Error ? error.message : "unknown" }, "The fleet's flushes can't be carried");
  });
  return client;
}
