import { createClient } from "@redis/client";

/** What is asked of a Redis or Valkey server. */
export interface RedisClient {
  eval(script: string, options: { readonly keys: string[]; readonly arguments: string[] }): Promise<unknown>;
  zRem(key: string, members: string[]): Promise<unknown>;
  hDel(key: string, field: string): Promise<unknown>;
  destroy(): void;
}

const CONNECT_TIMEOUT_MS = 5000;
const LONGEST_PAUSE_MS = 2000;

/**
 * Connects. A server that isn't there at the start is a wrong configuration, and rejects; later it is waited for, while
 * commands fail at once: who waits for them would have given up.
 *
 * @param onAway told of each failure once the connection has stood
 */
export async function connectRedis(url: string, onAway: (error: unknown) => void): Promise<RedisClient> {
  let connected = false;
  const client = createClient({
    url,
    disableOfflineQueue: true,
    socket: {
      connectTimeout: CONNECT_TIMEOUT_MS,
      reconnectStrategy: (retries, cause) =>
        connected ? Math.min(LONGEST_PAUSE_MS, 50 * 2 ** Math.min(retries, 8)) : cause,
    },
  });
  client.on("error", (error) => {
    if (connected) onAway(error);
  });
  try {
    await within(client.connect(), CONNECT_TIMEOUT_MS);
  } catch (error) {
    client.destroy();
    throw error;
  }
  connected = true;
  return client;
}

/** Rejects if the promise doesn't settle in time. */
export async function within<T>(promise: Promise<T>, timeoutMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`No answer within ${timeoutMs} ms`)), timeoutMs);
  });
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
