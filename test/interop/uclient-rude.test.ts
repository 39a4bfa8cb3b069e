/** coturn's client in its less polite modes: where data flows none is lost, and in the end nothing is left. */
import { readdirSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTurnServer, type TurnServerProcess } from "../support/turn-server.ts";
import { runUclient } from "../support/uclient.ts";

const USER = ["-u", "alice", "-w", "wonderland"];
const LOAD = ["-m", "2", "-n", "20", "-z", "5"];
/** Short, so that what a client leaves behind is gone soon. */
const MAX_LIFETIME_SECONDS = 12;
const POLL_MS = 250;

describe.each(["batched", "portable"] as const)("on the %s plane", (plane) => {
  let server: TurnServerProcess;
  let before = 0;

  beforeAll(async () => {
    server = await startTurnServer({
      users: [{ name: "alice", password: "wonderland" }],
      plane,
      args: [`--max-lifetime=${MAX_LIFETIME_SECONDS}`],
    });
    before = openDescriptors();
  });
  afterAll(async () => {
    await server.stop();
  });

  function openDescriptors(): number {
    return readdirSync(`/proc/${server.child.pid}/fd`).length;
  }

  const run = (...args: readonly string[]) =>
    runUclient({ port: server.port, args: [...USER, ...LOAD, "-y", ...args] });

  describe("where data flows none is lost", () => {
    it.each([
      ["dual allocations (-Z)", ["-Z"]],
      ["requests that nobody needs (-G)", ["-G"]],
      ["the same with Send (-G -s)", ["-G", "-s"]],
      ["padding (-D)", ["-D"]],
      ["negative tests (-N)", ["-N"]],
    ])("%s", async (_, args) => {
      const { code, lost, sent } = await run(...args);
      expect({ code, lost, isSent: sent > 0 }).toEqual({ code: 0, lost: 0, isSent: true });
    });
  });

  describe("clients that go as they please, or only attack", () => {
    it.each([
      ["connect and exit (-O)", ["-O"]],
      ["clients that disconnect at random (-B)", ["-B"]],
      ["messages that break the protocol (-R)", ["-R"]],
    ])("%s leave a relay that serves", async (_, args) => {
      await runUclient({ port: server.port, args: [...USER, ...LOAD, "-y", ...args], timeoutMs: 15_000 });
      const { code, lost } = await run("-c");
      expect({ code, lost }).toEqual({ code: 0, lost: 0 });
    });
  });

  it("leaves no port and no descriptor behind once the lifetimes are over", async () => {
    const deadline = Date.now() + (MAX_LIFETIME_SECONDS + 50) * 1000;
    while (openDescriptors() > before && Date.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    expect(openDescriptors()).toBe(before);
  });
});
