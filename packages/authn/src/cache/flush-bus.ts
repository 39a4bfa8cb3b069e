/** What to forget; what isn't named, matters not. Empty: everything. */
export interface FlushScope {
  readonly provider?: string;
  readonly realm?: string;
  /** Any spelling of the name: case and compatibility forms don't count. */
  readonly username?: string;
}

/** A flush on its way to the other portals of a fleet. Holds names, never a digest. */
export interface FlushMessage extends FlushScope {
  /** Who sent it: a cache ignores its own. */
  readonly origin: string;
}

/** What a cache does with what comes in. */
export interface FlushSubscriber {
  /** Another cache was flushed. */
  onFlush(message: FlushMessage): void;
  /** Messages may have been lost (the connection was away): everything must be forgotten. */
  onGap(): void;
}

/** Carries flushes between the caches of a fleet, in both directions, within a second. */
export interface FlushBus {
  /** Resolves when the message is on its way; rejects if it can't be sent. */
  publish(message: FlushMessage): Promise<void>;
  /** @returns ends the subscription */
  subscribe(subscriber: FlushSubscriber): () => void;
}

/** A message that can't be read. */
export interface FlushMessageError {
  readonly kind: "error";
  readonly code: "notJson" | "badShape" | "tooLong";
  readonly message: string;
}

const MAX_MESSAGE_LENGTH = 8192;
const SCOPE_FIELDS = ["provider", "realm", "username"] as const;

/** The message as one line of JSON, for a channel of a message broker. */
export function encodeFlushMessage({ origin, provider, realm, username }: FlushMessage): string {
  return JSON.stringify({ origin, provider, realm, username });
}

/** Reads a line of another portal. What can't be read is an error value: treat it as a gap. */
export function decodeFlushMessage(line: string): { kind: "flush"; message: FlushMessage } | FlushMessageError {
  if (line.length > MAX_MESSAGE_LENGTH) return errorOf("tooLong", `flush message has ${line.length} characters`);
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch {
    return errorOf("notJson", "flush message is not JSON");
  }
  if (typeof parsed !== "object" || parsed === null) return errorOf("badShape", "flush message is not an object");
  const fields: Record<string, unknown> = { ...parsed };
  const origin = fields["origin"];
  if (typeof origin !== "string" || origin === "") return errorOf("badShape", "flush message has no origin");
  const scope: { -readonly [K in keyof FlushScope]: string } = {};
  for (const name of SCOPE_FIELDS) {
    const value = fields[name];
    if (value === undefined) continue;
    if (typeof value !== "string") return errorOf("badShape", `${name} of a flush message is not a string`);
    scope[name] = value;
  }
  return { kind: "flush", message: { origin, ...scope } };
}

/** A bus within one process. */
export class LocalFlushBus implements FlushBus {
  readonly #subscribers = new Set<FlushSubscriber>();

  async publish(message: FlushMessage): Promise<void> {
    for (const subscriber of this.#subscribers) subscriber.onFlush(message);
  }

  subscribe(subscriber: FlushSubscriber): () => void {
    this.#subscribers.add(subscriber);
    return () => void this.#subscribers.delete(subscriber);
  }
}

function errorOf(code: FlushMessageError["code"], message: string): FlushMessageError {
  return { kind: "error", code, message };
}
