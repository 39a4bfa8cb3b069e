import { channel, type Channel } from "node:diagnostics_channel";
import type { LifecycleEvent } from "@turnpike/turn";
import type { Logger } from "../logger.ts";
import { SampledLog } from "../sampled-log.ts";
import { EventLog, type EventLogSettings } from "./event-log.ts";
import { EventStream, type EventStreamOptions } from "./event-stream.ts";
import {
  EventInterest,
  isRelayEventType,
  RELAY_EVENT_TYPES,
  type RelayEvent,
  type RelayEventType,
} from "./relay-event.ts";

/**
 * Takes events, each by a handler of its name. All are optional and may be asynchronous. Handlers are called after what
 * caused the event is finished, in the order of events, and nobody waits for them.
 *
 * @example
 * const events = { allocationDeleted: ({ context, totals }) => bill(context.actor, totals) } satisfies EventHandlers;
 */
export type EventHandlers = {
  readonly [Type in RelayEventType]?: (event: Extract<RelayEvent, { readonly type: Type }>) => unknown;
};

/** What {@link EventHub} is made with. */
export interface EventHubOptions {
  readonly logger: Logger;
  readonly monotonicMs: () => number;
  readonly handlers?: EventHandlers;
  /** Takes every event of the engine. */
  readonly onEvent?: (event: LifecycleEvent) => unknown;
  /** Default: no event is logged. */
  readonly log?: EventLogSettings;
}

/** How the outlets of events fared since the start. */
export interface EventCounters {
  /** Handlers that threw or rejected. */
  readonly handlerErrors: number;
  /** Calls of handlers that have not come back yet. */
  readonly handlersRunning: number;
  /** Events that a handler didn't get since too many of its calls had not come back. */
  readonly handlerDrops: number;
  /** Events that readers of streams missed. */
  readonly streamDrops: number;
}

const LIFECYCLE_TYPES = RELAY_EVENT_TYPES.filter((type) => type !== "banStarted" && type !== "banLifted");

function isLifecycleEvent(event: RelayEvent): event is LifecycleEvent {
  return event.type !== "banStarted" && event.type !== "banLifted";
}

/** How many calls of one handler may be under way. */
const MAX_RUNNING = 10_000;

interface Handler {
  readonly call: (event: RelayEvent) => unknown;
  running: number;
}

/**
 * Brings events to whoever listens: handlers, streams, the log, and `node:diagnostics_channel`, where each type has a
 * channel of its name (`turnpike:allocation-created`). No listener can harm the relay or another listener.
 */
export class EventHub {
  readonly interest: EventInterest = new EventInterest();
  readonly #handlers = new Map<RelayEventType, Handler[]>();
  readonly #channels: ReadonlyMap<RelayEventType, Channel>;
  readonly #streams = new Set<EventStream>();
  readonly #followed = new Map<RelayEventType, () => void>();
  readonly #log: EventLog | undefined;
  readonly #sampledLog: SampledLog;
  #handlerErrors = 0;
  #handlerDrops = 0;
  #pastStreamDrops = 0;

  /** @throws TypeError for a handler of no event. */
  constructor(options: EventHubOptions) {
    this.#sampledLog = new SampledLog(options);
    this.#channels = new Map(RELAY_EVENT_TYPES.map((type) => [type, channel(channelName(type))]));
    for (const [type, handler] of Object.entries(options.handlers ?? {})) {
      if (!isRelayEventType(type) || typeof handler !== "function") {
        throw new TypeError(`Cannot handle the event "${type}": there is none of this name, or no function for it`);
      }
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the name of the property tells which events it takes
      this.listen([type], handler as Handler["call"]);
    }
    const { onEvent } = options;
    if (onEvent !== undefined) {
      this.listen(LIFECYCLE_TYPES, (event) => (isLifecycleEvent(event) ? onEvent(event) : undefined));
    }
    if (options.log !== undefined) {
      this.#log = new EventLog(options.log, options.logger);
      this.interest.listen(this.#log.types);
    }
  }

  /** Whether anybody listens to events of a type. */
  wants(type: RelayEventType): boolean {
    return this.interest.wants(type) || this.#channels.get(type)?.hasSubscribers === true;
  }

  /** Makes the interest of subscribers to diagnostics channels visible to other threads. */
  followChannels(): void {
    for (const [type, { hasSubscribers }] of this.#channels) {
      const forget = this.#followed.get(type);
      if (hasSubscribers === (forget !== undefined)) continue;
      forget?.();
      if (hasSubscribers) this.#followed.set(type, this.interest.listen([type]));
      else this.#followed.delete(type);
    }
  }

  /** Has `call` take events of some types, for the life of the hub. */
  listen(types: readonly RelayEventType[], call: Handler["call"]): void {
    const handler = { call, running: 0 };
    for (const type of types) this.#handlers.set(type, [...(this.#handlers.get(type) ?? []), handler]);
    this.interest.listen(types);
  }

  /** Brings an event to all who listen to its type. Never throws. */
  publish(event: RelayEvent): void {
    for (const handler of this.#handlers.get(event.type) ?? []) this.#call(handler, event);
    for (const stream of this.#streams) stream.push(event);
    this.#log?.write(event);
    this.#channels.get(event.type)?.publish(event);
  }

  /** A stream of events from here on. */
  stream(options: EventStreamOptions = {}): EventStream {
    for (const type of options.types ?? []) {
      if (!isRelayEventType(type)) throw new TypeError(`Cannot listen to the event "${String(type)}": there is none`);
    }
    const forget = this.interest.listen(options.types ?? RELAY_EVENT_TYPES);
    const stream = new EventStream(options, () => {
      forget();
      this.#streams.delete(stream);
      this.#pastStreamDrops += stream.dropped;
    });
    this.#streams.add(stream);
    return stream;
  }

  get counters(): EventCounters {
    let streamDrops = this.#pastStreamDrops;
    for (const stream of this.#streams) streamDrops += stream.dropped;
    const handlers = new Set([...this.#handlers.values()].flat());
    return {
      handlerErrors: this.#handlerErrors,
      handlersRunning: [...handlers].reduce((sum, { running }) => sum + running, 0),
      handlerDrops: this.#handlerDrops,
      streamDrops,
    };
  }

  /** Ends every stream. */
  close(): void {
    for (const stream of this.#streams) stream.end();
  }

  #call(handler: Handler, event: RelayEvent): void {
    if (handler.running >= MAX_RUNNING) {
      this.#handlerDrops++;
      return;
    }
    try {
      const result = handler.call(event);
      if (!(result instanceof Promise)) return;
      handler.running++;
      result.then(
        () => void handler.running--,
        (error: unknown) => {
          handler.running--;
          this.#reportError(error, event);
        },
      );
    } catch (error) {
      this.#reportError(error, event);
    }
  }

  #reportError(error: unknown, event: RelayEvent): void {
    this.#handlerErrors++;
    this.#sampledLog.error({ err: error, event: event.type }, "An event handler failed");
  }
}

/** `turnpike:allocation-created` for `allocationCreated`. */
function channelName(type: RelayEventType): string {
  return `turnpike:${type.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}
