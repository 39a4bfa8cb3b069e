import { chmod, mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ManualClock } from "@turnpike/authn/testing";
import { afterEach, beforeEach, expect, it } from "vitest";
import { openStore } from "./store.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "turnpike-store-"));
});
afterEach(() => rm(folder, { recursive: true }));

async function modes(): Promise<Record<string, number>> {
  const names = await readdir(folder);
  return Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, (await stat(join(folder, name))).mode & 0o777] as const)),
  );
}

it("makes the database and its log for their owner alone", async () => {
  const location = join(folder, "turnpike.db");
  const store = await openStore({ location, clock: new ManualClock() });
  expect(await modes()).toEqual({ "turnpike.db": 0o600, "turnpike.db-shm": 0o600, "turnpike.db-wal": 0o600 });
  await store.close();
});

it("leaves the mode of a database that is there, and opens it again", async () => {
  const location = join(folder, "turnpike.db");
  await (await openStore({ location, clock: new ManualClock() })).close();
  await chmod(location, 0o640);
  const store = await openStore({ location, clock: new ManualClock() });
  expect(await modes()).toEqual({ "turnpike.db": 0o640, "turnpike.db-shm": 0o640, "turnpike.db-wal": 0o640 });
  await store.close();
});

it("says what is wrong with a place where no file can be", async () => {
  await expect(openStore({ location: join(folder, "missing", "turnpike.db") })).rejects.toThrow(
    /Cannot open the store/,
  );
});

it("takes addresses and databases in memory as SQLite does", async () => {
  for (const location of [":memory:", "file:nowhere?mode=memory"]) {
    await (await openStore({ location, clock: new ManualClock() })).close();
  }
  expect(await modes()).toEqual({});
});
