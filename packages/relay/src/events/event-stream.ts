import { normalizeUser } from "@turnpike/authn/turn";
import { actorOf, type RelayEvent, type RelayEventType } from "./relay-event.ts";

/** Which events a stream yields. */
export interface EventStreamOptions {
  /** Default: all. */
  readonly types?: readonly RelayEventType[];
  /** Only events of this actor, in any spelling of its name. Default: of everybody. */
  readonly user?: string;
  /** How many events may wait for who reads. Default 1,000: what is older makes room, and is counted. */
  readonly bufferSize?: number;
}

/**
 * Events as they come, for `for await`. A reader that is slow misses the oldest, and can see how many. It ends when the
 * relay stops, or when its reader leaves the loop.
 *
 * @example
 * for await (const event of relay.events({ types: ["allocationCreated"] })) console.log(event.context.actor);
 */
export class EventStream implements AsyncIterableIterator<RelayEvent>, AsyncDisposable {
  readonly #types: ReadonlySet<RelayEventType> | undefined;
  readonly #user: string | undefined;
  readonly #bufferSize: number;
  /** A ring: the oldest event stands at `#first`. */
  readonly #ring: (RelayEvent | undefined)[] = [];
  #first = 0;
  #count = 0;
  readonly #waiting: ((result: IteratorResult<RelayEvent, undefined>) => void)[] = [];
  readonly #onEnd: () => void;
  #ended = false;
  #dropped = 0;

  /** @throws RangeError unless `bufferSize` is a positive whole number. */
  constructor(options: EventStreamOptions, onEnd: () => void) {
    const { types, user, bufferSize = 1000 } = options;
    if (!Number.isInteger(bufferSize) || bufferSize < 1) {
      throw new RangeError(`Cannot buffer ${bufferSize} events: use a whole number from 1`);
    }
    this.#types = types === undefined ? undefined : new Set(types);
    this.#user = user === undefined ? undefined : normalizeUser(user);
    this.#bufferSize = bufferSize;
    this.#onEnd = onEnd;
  }

  /** Events that the reader missed because it was slow. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Takes an event, if it is one of those that are wanted. */
  push(event: RelayEvent): void {
    if (this.#ended || this.#types?.has(event.type) === false) return;
    if (this.#user !== undefined && normalizeUser(actorOf(event) ?? "") !== this.#user) return;
    const reader = this.#waiting.shift();
    if (reader !== undefined) {
      reader({ done: false, value: event });
      return;
    }
    if (this.#count === this.#bufferSize) {
      this.#take();
      this.#dropped++;
    }
    this.#ring[(this.#first + this.#count) % this.#bufferSize] = event;
    this.#count++;
  }

  next(): Promise<IteratorResult<RelayEvent, undefined>> {
    const event = this.#take();
    if (event !== undefined) return Promise.resolve({ done: false, value: event });
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Yields nothing more from here on but what waits already. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#onEnd();
    for (const reader of this.#waiting.splice(0)) reader({ done: true, value: undefined });
  }

  return(): Promise<IteratorResult<RelayEvent, undefined>> {
    this.#ring.length = 0;
    this.#count = 0;
    this.end();
    return Promise.resolve({ done: true, value: undefined });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #take(): RelayEvent | undefined {
    if (this.#count === 0) return undefined;
    const event = this.#ring[this.#first];
    this.#ring[this.#first] = undefined;
    this.#first = (this.#first + 1) % this.#bufferSize;
    this.#count--;
    return event;
  }
}
