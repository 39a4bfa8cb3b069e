import type { Logger } from "../logger.ts";
import { plainEvent } from "./plain-event.ts";
import { RELAY_EVENT_TYPES, type RelayEvent, type RelayEventType } from "./relay-event.ts";

/** Which events stand in the log, one line each. */
export interface EventLogSettings {
  /** Default: all. */
  readonly types?: readonly RelayEventType[];
  /** Lines of one type in a second; those beyond are counted in the next line's `leftOut`. Default 100. */
  readonly linesPerSecond?: number;
}

const DEFAULT_LINES_PER_SECOND = 100;

/** Writes events to a log, at `info`. A flood of events of one type is no flood of lines, and hides no other type. */
export class EventLog {
  readonly types: readonly RelayEventType[];
  readonly #logger: Logger;
  readonly #linesPerSecond: number;
  readonly #seconds = new Map<RelayEventType, { second: number; lines: number; leftOut: number }>();

  /** @throws RangeError unless `linesPerSecond` is positive. */
  constructor(settings: EventLogSettings, logger: Logger) {
    this.types = settings.types ?? RELAY_EVENT_TYPES;
    this.#logger = logger;
    this.#linesPerSecond = settings.linesPerSecond ?? DEFAULT_LINES_PER_SECOND;
    if (!(this.#linesPerSecond > 0)) {
      throw new RangeError(`Cannot log ${this.#linesPerSecond} events a second: use a number above 0`);
    }
    for (const type of this.types) this.#seconds.set(type, { second: 0, lines: 0, leftOut: 0 });
  }

  write(event: RelayEvent): void {
    const counted = this.#seconds.get(event.type);
    if (counted === undefined) return;
    const second = Math.floor(("context" in event ? event.context.atUnixMs : event.atUnixMs) / 1000);
    if (second !== counted.second) {
      counted.second = second;
      counted.lines = 0;
    }
    if (counted.lines >= this.#linesPerSecond) {
      counted.leftOut++;
      return;
    }
    counted.lines++;
    const leftOut = counted.leftOut === 0 ? {} : { leftOut: counted.leftOut };
    counted.leftOut = 0;
    this.#logger.info({ ...plainEvent(event), ...leftOut }, event.type);
  }
}
