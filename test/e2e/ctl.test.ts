import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, Readable } from "node:stream";
import { prefixSubject } from "@turnpike/relay";
import { startControlSocket } from "@turnpike/relay/control";
import { afterEach, describe, expect, test } from "vitest";
import { run, type World } from "../../packages/turnpike/src/index.ts";
import { allocated, BOB, keep, openClient, startTestRelay } from "../support/relay.ts";

const directory = mkdtempSync(join(tmpdir(), "turnpike-ctl-"));

afterEach(() => rmSync(join(directory, "turnpike.sock"), { force: true }));

function world(): { world: World; out: () => string; err: () => string; signal: () => void } {
  let [out, err] = ["", ""];
  let signal: (name: string) => void = () => {};
  return {
    world: {
      out: (text) => (out += text),
      err: (text) => (err += text),
      streams: () => ({ input: Readable.from([]), output: new PassThrough() }),
      isOutTerminal: false,
      isErrTerminal: false,
      environment: { XDG_RUNTIME_DIR: directory },
      readFile: () => {
        throw Object.assign(new Error("none"), { code: "ENOENT" });
      },
      writeNewFile: () => {},
      onReloadSignal: () => () => {},
      fileState: () => undefined,
      every: () => () => {},
      unixMs: Date.now,
      random: (length: number) => new Uint8Array(length),
      onStopSignal: (listener) => {
        signal = listener;
        return () => {};
      },
      exitNow: () => {},
      version: "0.0.0",
    } as World,
    out: () => out,
    err: () => err,
    signal: () => signal("SIGINT"),
  };
}

async function ctl(...args: readonly string[]): Promise<{ code: number; out: string; err: string }> {
  const setup = world();
  const code = await run(["ctl", ...args], setup.world);
  return { code, out: setup.out(), err: setup.err() };
}

async function served() {
  const relay = await startTestRelay();
  keep(await startControlSocket({ path: join(directory, "turnpike.sock"), relay }));
  return relay;
}

describe("turnpike ctl", () => {
  test("lists allocations for people and for programs, kills one and all of a user", async () => {
    const relay = await served();
    expect(await ctl("allocations")).toEqual({ code: 0, out: "No allocations\n", err: "" });
    await allocated(await openClient(relay));
    await allocated(await openClient(relay, BOB));
    const { out } = await ctl("allocations", "--user", "alice");
    expect(out).toMatch(
      /^ID +USER +CLIENT +RELAYED +EXPIRES +OUT +IN\n0-1 +alice +udp:127\.0\.0\.1:\d+ +127\.0\.0\.1:\d+ +\d+ s +0 B +0 B\n$/,
    );
    const json = JSON.parse((await ctl("--json", "allocations")).out) as { allocations: unknown[] };
    expect(json.allocations).toHaveLength(2);
    expect(await ctl("kill", "0-1")).toEqual({ code: 0, out: "Ended 0-1\n", err: "" });
    expect(await ctl("kill", "0-1")).toEqual({
      code: 1,
      out: "",
      err: "turnpike: ctl: There is no allocation of this id\n",
    });
    expect((await ctl("kill-user", "bob")).out).toBe("Ended 1 allocation\n");
    expect(relay.stats().allocations).toBe(0);
  });

  test("bans, lists and lifts", async () => {
    const relay = await served();
    expect((await ctl("ban", "192.0.2.1", "--seconds", "60", "--reason", "abuse")).out).toBe(
      "Banned 192.0.2.1 for 60 s, ended 0 allocations\n",
    );
    await ctl("ban", "--user", "mallory");
    expect((await ctl("ban", "--list")).out).toMatch(
      /192\.0\.2\.1\/32 +60 s +abuse\nuser mallory +3600 s +by an administrator\n$/,
    );
    expect((await ctl("ban", "--lift", "192.0.2.1")).code).toBe(0);
    expect(relay.bans()).toHaveLength(1);
    expect((await ctl("ban")).code).toBe(2);
    expect((await ctl("ban", "nonsense")).code).toBe(2);
    expect((await ctl("ban", "192.0.2.1", "--seconds", "0")).code).toBe(2);
    expect(relay.bans().map(({ subject }) => subject)).not.toContainEqual(prefixSubject("192.0.2.1"));
  });

  test("drains", async () => {
    const relay = await served();
    expect((await ctl("drain")).code).toBe(0);
    expect(await (await openClient(relay)).allocate()).toBe(508);
  });

  test("follows events until a signal", async () => {
    const relay = await served();
    const following = world();
    const done = run(["ctl", "events", "--type", "allocationCreated"], following.world);
    await expect
      .poll(
        async () => {
          await allocated(await openClient(relay));
          return following.out();
        },
        { timeout: 20_000 },
      )
      .toContain('"event":"allocationCreated"');
    following.signal();
    expect(await done).toBe(0);
    expect((await ctl("events", "--type", "nothing")).code).toBe(2);
  });

  test("says what is wrong where there is no relay", async () => {
    expect(await ctl("allocations")).toMatchObject({ code: 1, err: expect.stringContaining("no relay serves it") });
    const nowhere = world();
    expect(await run(["ctl", "drain"], { ...nowhere.world, environment: {} })).toBe(2);
    expect(nowhere.err()).toContain("Give --socket PATH, its --control-socket");
  });
});

describe("turnpike xdp status", () => {
  test("says how to start a relay that relays in the kernel", async () => {
    await served();
    const setup = world();
    expect(await run(["xdp", "status"], setup.world)).toBe(1);
    expect(setup.out()).toBe("");
    expect(setup.err()).toContain("start it with --plane kernel --interface NAME");
  });

  test("says what is wrong where there is no relay", async () => {
    const setup = world();
    expect(await run(["xdp", "status", "--json"], setup.world)).toBe(1);
    expect(setup.err()).toContain("no relay serves it");
    expect(await run(["xdp", "status"], { ...setup.world, environment: {} })).toBe(2);
    expect(await run(["xdp", "nothing"], setup.world)).toBe(2);
  });
});
