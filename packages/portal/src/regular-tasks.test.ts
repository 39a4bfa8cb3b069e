import { OperationContext, Sessions, silentLogger } from "@turnpike/authn";
import { ManualClock } from "@turnpike/authn/testing";
import { afterEach, expect, test, vi } from "vitest";
import { startTimers } from "./regular-tasks.ts";
import { listAudit, trimAudit } from "./store/audit.ts";
import { Credentials } from "./store/credentials.ts";
import { SessionStore } from "./store/session-store.ts";
import { FleetSecrets } from "./store/fleet-secrets.ts";
import { openStore, type Store } from "./store/store.ts";

const ctx = OperationContext.internal("test");
const DAY_MS = 86_400_000;

afterEach(() => {
  vi.useRealTimers();
});

async function changes(store: Store, target: string, count = 1): Promise<void> {
  for (let i = 0; i < count; i++) await store.mutate(ctx, { action: "tried", target }, () => Promise.resolve(true));
}

const targets = async (store: Store): Promise<readonly string[]> => [
  ...new Set((await listAudit(ctx, store, { limit: 100_000 })).map(({ target }) => target)),
];

/** Runs the tasks for a minute of the timers, the store's clock having jumped. */
async function aMinuteOf(store: Store, clock: ManualClock, auditDays: number): Promise<void> {
  const sessions = new Sessions({ store: new SessionStore(store), secure: true, clock });
  const registry = { refresh: () => Promise.resolve() };
  vi.useFakeTimers();
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what the tasks ask of it
  const parts = {
    store,
    fleetSecrets: new FleetSecrets(store),
    sessions,
    credentials: new Credentials(store),
    registry,
    logger: silentLogger,
  } as Parameters<typeof startTimers>[0];
  const stop = startTimers(parts, { auditDays });
  await vi.advanceTimersByTimeAsync(60_000);
  stop();
  vi.useRealTimers();
}

test("entries of the audit log go when they are older than they are kept, and no sooner", async () => {
  const clock = new ManualClock();
  const store = await openStore({ location: ":memory:", clock });
  await changes(store, "old");
  clock.advance(DAY_MS);
  await changes(store, "young");
  clock.advance(29 * DAY_MS);
  await aMinuteOf(store, clock, 30);
  expect(await targets(store)).toEqual(["young", "old"]);
  clock.advance(1);
  await aMinuteOf(store, clock, 0);
  expect(await targets(store)).toEqual(["young", "old"]);
  await aMinuteOf(store, clock, 30);
  expect(await targets(store)).toEqual(["young"]);
});

test("a long log is trimmed in batches, the oldest first", async () => {
  const clock = new ManualClock();
  const store = await openStore({ location: ":memory:", clock });
  await changes(store, "old", 2_500);
  clock.advance(DAY_MS);
  await changes(store, "young", 10);
  expect(await trimAudit(ctx, store, DAY_MS - 1)).toBe(2_500);
  expect(await targets(store)).toEqual(["young"]);
  expect(await trimAudit(ctx, store, DAY_MS - 1)).toBe(0);

  // What a clock that was ahead wrote stays until it is old.
  clock.advance(DAY_MS);
  await store.note(ctx, (db) =>
    db
      .updateTable("audit")
      .set({ at: clock.unixMs() + DAY_MS })
      .where("seq", "=", 2_501)
      .execute(),
  );
  expect(await trimAudit(ctx, store, DAY_MS - 1)).toBe(9);
  expect((await listAudit(ctx, store, { limit: 10 })).map(({ seq }) => seq)).toEqual([2_501]);
});
