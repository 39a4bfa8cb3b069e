/** coturn's own client through our relay: what it sends arrives, all of it. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTurnServer, type TurnServerProcess } from "../support/turn-server.ts";
import { startUdpSpy } from "../support/udp-spy.ts";
import { runUclient, startEchoPeer } from "../support/uclient.ts";

const SECRET = "north-star-secret";
const OLD_SECRET = "south-star-secret";
const CLIENTS = 2;
const MESSAGES = 50;
const LOAD = ["-m", String(CLIENTS), "-n", String(MESSAGES), "-z", "5"];
const STATIC = ["-u", "alice", "-w", "wonderland"];
const REST = ["-u", "bob", "-W", SECRET];

/** Without `-c` every client has a second, RTCP allocation beside it (EVEN-PORT and RESERVATION-TOKEN). */
const NO_RTCP = "-c";

const all = { code: 0, lost: 0, sent: CLIENTS * MESSAGES, received: CLIENTS * MESSAGES };

describe.each([
  {
    credentials: "a static user",
    plane: "batched",
    user: STATIC,
    options: { users: [{ name: "alice", password: "wonderland" }] },
  },
  { credentials: "a shared secret", plane: "portable", user: REST, options: { sharedSecrets: [SECRET] } },
] as const)("turnutils_uclient with $credentials, on the $plane plane", ({ user, plane, options }) => {
  let server: TurnServerProcess;
  beforeAll(async () => {
    server = await startTurnServer({ ...options, plane });
  });
  afterAll(async () => {
    await server.stop();
  });
  const run = (...args: readonly string[]) => runUclient({ port: server.port, args: [...user, ...LOAD, ...args] });

  describe("loses nothing from client to client", () => {
    it.each([
      ["channels, IPv4", ["-y", NO_RTCP]],
      ["Send and Data indications, IPv4", ["-y", "-s", NO_RTCP]],
      ["channels, IPv6", ["-y", "-x", NO_RTCP]],
      ["Send and Data indications, IPv6", ["-y", "-s", "-x", NO_RTCP]],
      ["channels, IPv4 asked for", ["-y", "-X", NO_RTCP]],
    ])("%s", async (_, args) => {
      expect(await run(...args)).toMatchObject(all);
    });

    it("channels, with padding that datagrams need not have", async () => {
      expect(await run("-y", "-D", NO_RTCP)).toMatchObject(all);
    });

    it("channels of pairs of allocations on an even and the next port", async () => {
      const { code, lost, sent, received } = await run("-y");
      expect({ code, lost, missing: sent - received, isSent: sent > 0 }).toEqual({
        code: 0,
        lost: 0,
        missing: 0,
        isSent: true,
      });
    });
  });

  describe.each(["127.0.0.1", "::1"])("loses nothing to turnutils_peer at %s", (address) => {
    const family = address === "::1" ? ["-x"] : [];
    it.each([
      ["channels", []],
      ["Send and Data indications", ["-s"]],
    ])("%s", async (_, args) => {
      const peer = await startEchoPeer(address);
      try {
        expect(await run("-e", address, "-r", String(peer.port), NO_RTCP, ...family, ...args)).toMatchObject(all);
      } finally {
        await peer.child.stop();
      }
    });
  });

  it("reaches the relay over IPv6", async () => {
    const args = [...user, ...LOAD, "-y", "-x", NO_RTCP];
    expect(await runUclient({ port: server.port, host: "::1", args })).toMatchObject(all);
  });
});

describe("turnutils_uclient that asks for DONT-FRAGMENT (-g), on the batched plane", () => {
  it.each([
    ["IPv4", []],
    ["IPv6", ["-x"]],
  ])("loses nothing over %s", async (_, family) => {
    const server = await startTurnServer({ users: [{ name: "alice", password: "wonderland" }] });
    try {
      // Send indications carry it: channels can't.
      const args = [...STATIC, ...LOAD, "-y", "-s", "-g", NO_RTCP, ...family];
      expect(await runUclient({ port: server.port, args })).toMatchObject(all);
    } finally {
      await server.stop();
    }
  });
});

describe("turnutils_uclient with what is wrong", () => {
  let server: TurnServerProcess;
  beforeAll(async () => {
    server = await startTurnServer({ users: [{ name: "alice", password: "wonderland" }] });
  });
  afterAll(async () => {
    await server.stop();
  });

  it.each([
    ["a wrong password", ["-u", "alice", "-w", "looking-glass"]],
    ["an unknown user", ["-u", "mallory", "-w", "wonderland"]],
    ["a secret where there is none", ["-u", "alice", "-W", SECRET]],
  ])("gets 401 for %s, and relays nothing", async (_, args) => {
    // The client tries again and again and never says why: what passes on the wire does.
    const spy = await startUdpSpy({ port: server.port });
    try {
      const result = await runUclient({
        port: spy.port,
        args: ["-y", NO_RTCP, "-n", "2", ...args],
        // Each answer is put off by seconds: a few of them say enough.
        timeoutMs: 20_000,
      });
      expect(result.code).not.toBe(0);
      expect(result.lost).toBeUndefined();
    } finally {
      await spy.close();
    }
    const signed = spy.answers.filter(({ isAuthenticated }) => isAuthenticated);
    expect(signed.length).toBeGreaterThan(0);
    expect(new Set(signed.map(({ method, code }) => `${method} ${code}`))).toEqual(new Set(["allocate 401"]));
  });
});

describe("turnutils_uclient while the secret is rotated", () => {
  it("is served by the new and by the old one", async () => {
    const server = await startTurnServer({ sharedSecrets: [SECRET, OLD_SECRET], plane: "portable" });
    try {
      for (const secret of [SECRET, OLD_SECRET]) {
        const args = ["-u", "bob", "-W", secret, ...LOAD, "-y", NO_RTCP];
        expect(await runUclient({ port: server.port, args })).toMatchObject(all);
      }
    } finally {
      await server.stop();
    }
  });
});
