import { expect, test } from "vitest";
import { EventInterest, RELAY_EVENT_TYPES } from "../events/relay-event.ts";
import { wantedEvents } from "./thread-events.ts";

test("nobody listens: no event is built, but the end of what the kernel counts for", () => {
  const interest = new EventInterest();
  expect(RELAY_EVENT_TYPES.filter(wantedEvents(interest, { channels: false }))).toEqual([]);
  expect(RELAY_EVENT_TYPES.filter(wantedEvents(interest, { channels: true }))).toEqual(["allocationDeleted"]);
});

test("who listens to anything of allocations makes their begin and end be told", () => {
  const interest = new EventInterest();
  const wanted = (): readonly string[] => RELAY_EVENT_TYPES.filter(wantedEvents(interest, { channels: false }));
  interest.listen(["authFailed"]);
  expect(wanted()).toEqual(["authFailed"]);
  const leave = interest.listen(["channelCreated"]);
  expect(wanted()).toEqual(["authFailed", "allocationCreated", "allocationDeleted", "channelCreated"]);
  leave();
  expect(wanted()).toEqual(["authFailed"]);
});
