import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { describe, expect, test } from "vitest";
import { authFailed, created } from "../testing/events.ts";
import { RecordingLogger } from "../testing/recording-logger.ts";
import { EventHub, type EventHubOptions } from "./event-hub.ts";
import { EventInterest, RELAY_EVENT_TYPES } from "./relay-event.ts";

function hub(options: Partial<EventHubOptions> = {}): { hub: EventHub; logger: RecordingLogger } {
  const logger = new RecordingLogger();
  return { hub: new EventHub({ logger, monotonicMs: () => 0, ...options }), logger };
}

async function turns(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await Promise.resolve();
}

describe("handlers", () => {
  test("each gets its events in order; nothing else is wanted", () => {
    const seen: string[] = [];
    const { hub: events } = hub({ handlers: { allocationCreated: ({ context }) => seen.push(context.actor) } });
    expect(RELAY_EVENT_TYPES.filter((type) => events.wants(type))).toEqual(["allocationCreated"]);
    for (const actor of ["a", "b"]) events.publish(created(actor));
    events.publish(authFailed("c"));
    expect(seen).toEqual(["a", "b"]);
  });

  test("one that throws, one that rejects and one that never returns harm nobody and are counted", async () => {
    const seen: string[] = [];
    const { hub: events, logger } = hub({
      handlers: {
        allocationCreated: () => {
          throw new Error("thrown");
        },
        authFailed: () => Promise.reject(new Error("rejected")),
        allocationDeleted: () => new Promise(() => {}),
      },
      onEvent: ({ type }) => seen.push(type),
    });
    const { context } = created("a") as Extract<ReturnType<typeof created>, { type: "allocationCreated" }>;
    events.publish(created("a"));
    events.publish(authFailed("b"));
    for (let i = 0; i < 10_010; i++) {
      events.publish({ type: "allocationDeleted", context, reason: "expired", totals: {} as never });
    }
    await turns();
    expect(events.counters).toMatchObject({ handlerErrors: 2, handlersRunning: 10_000, handlerDrops: 10 });
    expect(seen).toHaveLength(10_012);
    expect(logger.messages("error")).toEqual(["An event handler failed"]);
  });

  test("a name that is no event is refused", () => {
    expect(() => hub({ handlers: { allocationMade: () => {} } as never })).toThrow('"allocationMade"');
  });
});

describe("diagnostics_channel", () => {
  test("a subscriber makes its type wanted, and gets the event itself", () => {
    const { hub: events } = hub();
    expect(RELAY_EVENT_TYPES.some((type) => events.wants(type))).toBe(false);
    const seen: unknown[] = [];
    const listener = (message: unknown): unknown => seen.push(message);
    subscribe("turnpike:allocation-created", listener);
    expect(RELAY_EVENT_TYPES.filter((type) => events.wants(type))).toEqual(["allocationCreated"]);
    const event = created("a");
    events.publish(event);
    unsubscribe("turnpike:allocation-created", listener);
    expect(seen).toEqual([event]);
    expect(events.wants("allocationCreated")).toBe(false);
  });
});

describe("streams", () => {
  test("yield what is asked for, by type and by user, and end with their reader", async () => {
    const { hub: events } = hub();
    const stream = events.stream({ types: ["allocationCreated"], user: "a" });
    expect(RELAY_EVENT_TYPES.filter((type) => events.wants(type))).toEqual(["allocationCreated"]);
    for (const actor of ["a", "b", "a"]) events.publish(created(actor));
    const seen: string[] = [];
    for await (const event of stream) {
      seen.push(event.type);
      if (seen.length === 2) break;
    }
    expect(seen).toEqual(["allocationCreated", "allocationCreated"]);
    expect(events.wants("allocationCreated")).toBe(false);
    expect((await stream.next()).done).toBe(true);
  });

  test("a slow reader misses the oldest, and that is counted, also after its end", async () => {
    const { hub: events } = hub();
    const stream = events.stream({ bufferSize: 3 });
    for (const actor of ["a", "b", "c", "d", "e"]) events.publish(created(actor));
    expect(stream.dropped).toBe(2);
    const first = await stream.next();
    expect(first.value).toMatchObject({ context: { actor: "c" } });
    await stream.return();
    expect(events.counters.streamDrops).toBe(2);
  });

  test("who waits learns of the end, and gets before it what was there", async () => {
    const { hub: events } = hub();
    const [waiting, full] = [events.stream(), events.stream()];
    const next = waiting.next();
    events.publish(created("a"));
    expect((await next).value).toMatchObject({ type: "allocationCreated" });
    const last = waiting.next();
    events.close();
    expect(await last).toEqual({ done: true, value: undefined });
    expect((await full.next()).done).toBe(false);
    expect((await full.next()).done).toBe(true);
  });

  test("wrong options are refused", () => {
    const { hub: events } = hub();
    expect(() => events.stream({ bufferSize: 0 })).toThrow(RangeError);
    expect(() => events.stream({ types: ["nothing" as never] })).toThrow('"nothing"');
  });
});

describe("the log", () => {
  test("has one line of plain JSON for each event; names can't break it", () => {
    const { hub: events, logger } = hub({ log: { types: ["authFailed"] } });
    events.publish(authFailed('x","address":"203.0.113.1\n\u202e'));
    expect(logger.lines).toHaveLength(1);
    const line = logger.lines[0]?.text ?? "";
    expect(JSON.parse(line)).toEqual({
      event: "authFailed",
      at: "2030-01-01T00:00:00.000Z",
      address: "198.51.100.7",
      client: "198.51.100.7:4000",
      transport: "udp",
      server: "192.0.2.1:3478",
      method: "allocate",
      reason: "badCredentials",
      username: String.raw`x","address":"203.0.113.1\u{a}\u{202e}`,
      message: "authFailed",
    });
    expect(line.match(/"address":"/g)).toHaveLength(1);
  });

  test("a flood of one type is cut, counted, and hides no other", () => {
    const { hub: events, logger } = hub({ log: { linesPerSecond: 5 } });
    for (let i = 0; i < 1000; i++) events.publish(authFailed("x"));
    events.publish(created("a"));
    expect(logger.messages("info").filter((type) => type === "authFailed")).toHaveLength(5);
    expect(logger.messages("info")).toContain("allocationCreated");
    const later = authFailed("x") as Extract<ReturnType<typeof authFailed>, { type: "authFailed" }>;
    events.publish({ ...later, atUnixMs: later.atUnixMs + 1000 });
    expect(JSON.parse(logger.lines.at(-1)?.text ?? "")).toMatchObject({ leftOut: 995 });
    expect(() => hub({ log: { linesPerSecond: 0 } })).toThrow(RangeError);
  });
});

test("interest is seen by another thread's view of the same memory", () => {
  const interest = new EventInterest();
  const elsewhere = new EventInterest(interest.memory);
  const forget = [interest.listen(["authFailed", "banLifted"]), interest.listen(["authFailed"])];
  forget[0]?.();
  forget[0]?.();
  expect(RELAY_EVENT_TYPES.filter((type) => elsewhere.wants(type))).toEqual(["authFailed"]);
  forget[1]?.();
  expect(elsewhere.wants("authFailed")).toBe(false);
});
