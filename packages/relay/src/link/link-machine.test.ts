import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LinkMachine, type LinkMachineOptions, type LinkOutput } from "./link-machine.ts";
import { parsePortalUrl } from "./login-url.ts";

const STAMP_SECRET = "4c98bf59c99b3e467ecd7cf9d6b3e5279645fca59be67bc5bb4af3cf653761ab";
const START = 5_000;

/** A machine, a clock, and all that the machine put out since it was last asked. */
class Play {
  readonly machine: LinkMachine;
  nowMs = START;
  constructor(options: Partial<LinkMachineOptions> = {}) {
    this.machine = new LinkMachine({
      portal: parsePortalUrl({ url: "https://portal.example" }),
      token: "tok",
      stampSecret: STAMP_SECRET,
      random: () => 0,
      ...options,
    });
  }
  get now(): { monotonicMs: number; unixMs: number } {
    return { monotonicMs: this.nowMs, unixMs: 1_900_000_000_000 + this.nowMs };
  }
  outputs(): LinkOutput[] {
    const all: LinkOutput[] = [];
    for (let output = this.machine.pollOutput(); output; output = this.machine.pollOutput()) all.push(output);
    return all;
  }
  /** Lets time go on to the next time-out and past it. */
  wake(): LinkOutput[] {
    this.nowMs = this.machine.pollTimeout()!;
    this.machine.handleTimeout(this.now);
    return this.outputs();
  }
  /** Connected with `connection`, joined and told init. */
  up(connection = 1): this {
    if (this.machine.state === "disconnected") this.machine.connect({ port: 3478 }, this.now);
    this.machine.handleOpened(connection, this.now);
    const joinRef = this.joinRef();
    this.frame(
      { topic: "relay", event: "phx_reply", payload: { status: "ok", response: {} }, ref: joinRef },
      connection,
    );
    this.frame({ topic: "relay", event: "init", payload: {}, ref: null }, connection);
    expect(this.machine.state).toBe("ready");
    this.outputs();
    return this;
  }
  joinRef(): number {
    const sent = this.outputs().flatMap((output) => (output.kind === "send" ? [JSON.parse(output.text)] : []));
    return sent.find(({ event }) => event === "phx_join").ref;
  }
  frame(frame: unknown, connection = 1): void {
    this.machine.handleFrame(connection, JSON.stringify(frame), this.now);
  }
}

describe("conformance with the original portal", () => {
  it("goes through connect, join, init and heartbeats, message by message", () => {
    const play = new Play();
    expect(play.machine.pollTimeout()).toBeUndefined();
    play.machine.connect({ name: "eu-1", ipv4: "192.0.2.1", ipv6: "2001:db8::1", port: 3478 }, play.now);
    expect(play.outputs()).toEqual([
      {
        kind: "open",
        connection: 1,
        request: {
          url: "wss://portal.example/relay/websocket?name=eu-1&ipv4=192.0.2.1&ipv6=2001%3Adb8%3A%3A1&port=3478",
          headers: { "x-authorization": "Bearer tok" },
        },
      },
    ]);
    play.machine.handleOpened(1, play.now);
    expect(play.outputs()).toEqual([
      {
        kind: "send",
        connection: 1,
        text: `{"topic":"relay","event":"phx_join","payload":{"stamp_secret":"${STAMP_SECRET}"},"ref":0}`,
      },
    ]);
    play.frame({ event: "phx_reply", payload: { response: {}, status: "ok" }, ref: 0, topic: "relay" });
    expect(play.outputs()).toEqual([]);
    expect(play.machine.state).toBe("joined");
    play.frame({ event: "init", payload: {}, ref: null, topic: "relay" });
    expect(play.outputs()).toEqual([{ kind: "ready", first: true }]);
    expect(play.machine.pollTimeout()).toBe(START + 10_000);
    expect(play.wake()).toEqual([
      { kind: "send", connection: 1, text: '{"topic":"phoenix","event":"heartbeat","payload":{},"ref":1}' },
    ]);
    play.frame({ event: "phx_reply", payload: { response: {}, status: "ok" }, ref: 1, topic: "phoenix" });
    expect(play.wake()).toMatchObject([{ kind: "send" }]);
  });

  it("puts the token into the query for portals of 2024", () => {
    const play = new Play({ tokenPlacement: "query" });
    play.machine.connect({ ipv4: "192.0.2.1", port: 3478 }, play.now);
    expect(play.outputs()).toMatchObject([
      { request: { url: "wss://portal.example/relay/websocket?ipv4=192.0.2.1&port=3478&token=tok", headers: {} } },
    ]);
  });

  it("speaks serializer 2.0.0", () => {
    const play = new Play({ serializer: "2.0.0" });
    play.machine.connect({ port: 3478 }, play.now);
    expect(play.outputs()).toMatchObject([{ request: { url: expect.stringContaining("vsn=2.0.0") } }]);
    play.machine.handleOpened(1, play.now);
    expect(play.outputs()).toMatchObject([{ text: `["0","0","relay","phx_join",{"stamp_secret":"${STAMP_SECRET}"}]` }]);
    play.frame(["0", "0", "relay", "phx_reply", { status: "ok", response: {} }]);
    play.frame(["7", null, "relay", "init", {}]);
    expect(play.outputs()).toEqual([]);
    play.frame([null, null, "relay", "init", {}]);
    expect(play.outputs()).toEqual([{ kind: "ready", first: true }]);
    expect(play.wake()).toMatchObject([{ text: '[null,"1","phoenix","heartbeat",{}]' }]);
  });

  it("takes an expired token for final", () => {
    const play = new Play().up();
    play.frame({ topic: "relay", event: "disconnect", payload: { reason: "token_expired" }, ref: null });
    expect(play.outputs()).toEqual([
      { kind: "close", connection: 1 },
      { kind: "failed", reason: "tokenExpired" },
    ]);
    expect(play.machine.pollTimeout()).toBeUndefined();
  });

  it("takes status 401 for final, and nothing else", () => {
    for (const status of [400, 403, 404, 429, 500, 502, 503, 301]) {
      const play = new Play();
      play.machine.connect({ port: 3478 }, play.now);
      play.machine.handleRefused(1, { status }, play.now);
      expect(play.machine.state).toBe("waiting");
    }
    const play = new Play();
    play.machine.connect({ port: 3478 }, play.now);
    play.machine.handleRefused(1, { status: 401 }, play.now);
    expect(play.outputs().at(-1)).toEqual({ kind: "failed", reason: "tokenRefused" });
  });

  it.each([429, 503])("honours Retry-After of status %i, in seconds and as a date", (status) => {
    for (const retryAfter of ["120", new Date(1_900_000_000_000 + START + 120_000).toUTCString()]) {
      const play = new Play();
      play.machine.connect({ port: 3478 }, play.now);
      play.machine.handleRefused(1, { status, retryAfter }, play.now);
      const away = play.outputs().at(-1);
      expect(away).toMatchObject({ kind: "away" });
      expect(away?.kind === "away" && away.retryInMs).toBeGreaterThanOrEqual(115_000);
    }
  });
});

describe("what a portal does wrong", () => {
  it("reconnects when more than three heartbeats stay unanswered", () => {
    const play = new Play().up();
    for (let sent = 0; sent < 4; sent++) expect(play.wake()).toMatchObject([{ kind: "send" }]);
    expect(play.wake()).toMatchObject([{ kind: "close" }, { kind: "away", reason: "the portal answers no heartbeat" }]);
    expect(play.wake()).toMatchObject([{ kind: "open", connection: 2 }]);
    expect(play.up(2).machine.state).toBe("ready");
  });

  it("sends one heartbeat after a long stop, not all that it missed", () => {
    const play = new Play().up();
    play.nowMs += 3_600_000;
    play.machine.handleTimeout(play.now);
    expect(play.outputs()).toMatchObject([{ kind: "send" }]);
    expect(play.machine.pollTimeout()).toBe(play.nowMs + 10_000);
  });

  it("gives up on a connection that says nothing, at each step", () => {
    const play = new Play();
    play.machine.connect({ port: 3478 }, play.now);
    play.outputs();
    expect(play.wake()).toMatchObject([{ kind: "close" }, { kind: "away", reason: "connecting took too long" }]);
    expect(play.nowMs).toBe(START + 15_000);
    play.wake();
    play.machine.handleOpened(2, play.now);
    const openedMs = play.nowMs;
    play.outputs();
    expect(play.wake()).toMatchObject([{ kind: "close" }, { reason: "the portal did not answer the join" }]);
    expect(play.nowMs - openedMs).toBe(5_000);
    play.wake();
    play.machine.handleOpened(3, play.now);
    play.frame({ topic: "relay", event: "phx_reply", payload: { status: "ok" }, ref: play.joinRef() }, 3);
    for (let beat = 1; beat < 3; beat++) {
      const [heartbeat] = play.wake();
      expect(heartbeat).toMatchObject({ kind: "send" });
    }
    expect(play.wake()).toMatchObject([{ kind: "close" }, { reason: "the portal did not say init" }]);
  });

  it("ignores replies with a wrong reference, topic or status", () => {
    const play = new Play();
    play.machine.connect({ port: 3478 }, play.now);
    play.machine.handleOpened(1, play.now);
    play.outputs();
    play.frame({ topic: "relay", event: "phx_reply", payload: { status: "ok" }, ref: 17 });
    play.frame({ topic: "phoenix", event: "phx_reply", payload: { status: "ok" }, ref: 0 });
    play.frame({ topic: "relay", event: "phx_reply", payload: { status: "ok" }, ref: null });
    play.frame({ topic: "relay", event: "init", payload: {}, ref: null });
    expect(play.outputs()).toEqual([]);
    expect(play.machine.state).toBe("joining");
    play.frame({ topic: "relay", event: "phx_reply", payload: { status: "error", response: {} }, ref: 0 });
    expect(play.outputs()).toMatchObject([{ kind: "close" }, { kind: "away", reason: "the portal refused the join" }]);
  });

  it("takes init once", () => {
    const play = new Play().up();
    play.frame({ topic: "relay", event: "init", payload: {}, ref: null });
    expect(play.outputs()).toEqual([]);
  });

  it("says rubbish is rubbish, and after sixteen of it reconnects", () => {
    const play = new Play().up();
    for (let index = 0; index < 15; index++) play.machine.handleFrame(1, '{"half":', play.now);
    expect(play.outputs().every(({ kind }) => kind === "rubbish")).toBe(true);
    play.machine.handleFrame(1, "", play.now);
    expect(play.outputs().map(({ kind }) => kind)).toEqual(["rubbish", "close", "away"]);
  });

  it("rejoins when the channel is closed", () => {
    for (const event of ["phx_error", "phx_close"]) {
      const play = new Play().up();
      play.frame({ topic: "relay", event, payload: {}, ref: null });
      expect(play.outputs()).toMatchObject([{ kind: "close" }, { kind: "away" }]);
    }
  });

  it("hears nothing from a connection that it let go", () => {
    const play = new Play().up();
    play.machine.handleClosed(1, "gone", play.now);
    play.outputs();
    play.frame({ topic: "relay", event: "disconnect", payload: { reason: "token_expired" }, ref: null });
    play.machine.handleClosed(1, "gone", play.now);
    expect(play.outputs()).toEqual([]);
    expect(play.machine.state).toBe("waiting");
  });

  it("passes a reason on only if it is a few plain words", () => {
    const play = new Play().up();
    play.frame({ topic: "relay", event: "disconnect", payload: { reason: "\u001B[2Jowned" }, ref: null });
    expect(play.outputs().at(-1)).toMatchObject({ reason: "the portal disconnected" });
  });

  it("gives up after 24 hours without success, not before", () => {
    const play = new Play({ random: () => 0.99 });
    play.machine.connect({ port: 3478 }, play.now);
    let attempts = 0;
    while (play.machine.state !== "failed") {
      play.outputs();
      if (play.machine.state === "connecting") {
        attempts++;
        play.machine.handleClosed(attempts, "ECONNREFUSED", play.now);
      } else play.wake();
      if (play.machine.state === "waiting") play.nowMs = play.machine.pollTimeout()!;
      if (play.machine.state === "waiting") play.machine.handleTimeout(play.now);
    }
    expect(play.nowMs - START).toBeGreaterThanOrEqual(86_400_000);
    expect(play.nowMs - START).toBeLessThan(86_400_000 + 61_000);
    expect(attempts).toBeGreaterThan(1_440);
    expect(attempts).toBeLessThan(1_500);
  });
});

describe("in every order of inputs", () => {
  const frames = fc.oneof(
    fc.constantFrom("init", "phx_error", "phx_close", "revoke").map((event) => ({
      topic: "relay",
      event,
      payload: {},
      ref: null,
    })),
    fc
      .nat({ max: 6 })
      .chain((ref) =>
        fc
          .constantFrom("relay", "phoenix")
          .map((topic) => ({ topic, event: "phx_reply", payload: { status: "ok" }, ref })),
      ),
  );
  const inputs = fc.oneof(
    fc.record({ kind: fc.constant("opened" as const) }),
    fc.record({ kind: fc.constant("closed" as const) }),
    fc.record({ kind: fc.constant("refused" as const), status: fc.constantFrom(429, 500, 503), after: fc.string() }),
    fc.record({ kind: fc.constant("frame" as const), frame: frames }),
    fc.record({ kind: fc.constant("text" as const), text: fc.string() }),
    fc.record({ kind: fc.constant("time" as const), ms: fc.nat({ max: 100_000 }) }),
    fc.record({ kind: fc.constant("send" as const) }),
  );

  it("waits for a time that is still to come, keeps one connection, and is ready only after init", () => {
    fc.assert(
      fc.property(fc.array(inputs, { maxLength: 60 }), (script) => {
        const play = new Play();
        play.machine.connect({ port: 3478 }, play.now);
        let connection = 0;
        let open: number | undefined;
        const check = (): void => {
          for (const output of play.outputs()) {
            if (output.kind === "open") {
              expect(open).toBeUndefined();
              open = output.connection;
              expect(open).toBe(++connection);
            } else if (output.kind === "close") {
              expect(output.connection).toBe(open);
              open = undefined;
            } else if (output.kind === "send") expect(output.connection).toBe(open);
          }
          if (play.machine.state === "ready") expect(open).toBeDefined();
        };
        check();
        for (const input of script) {
          if (input.kind === "opened") play.machine.handleOpened(connection, play.now);
          else if (input.kind === "closed") play.machine.handleClosed(connection, "gone", play.now);
          else if (input.kind === "refused")
            play.machine.handleRefused(connection, { status: input.status, retryAfter: input.after }, play.now);
          else if (input.kind === "frame") play.frame(input.frame, connection);
          else if (input.kind === "text") play.machine.handleFrame(connection, input.text, play.now);
          else if (input.kind === "send")
            expect(play.machine.send("presence", {})).toBe(play.machine.state === "ready");
          else {
            play.nowMs += input.ms;
            // A timer that doesn't move on would spin the loop.
            for (let due = play.machine.pollTimeout(); due !== undefined && due <= play.nowMs;) {
              play.machine.handleTimeout(play.now);
              check();
              const next = play.machine.pollTimeout();
              expect(next === undefined || next > play.nowMs).toBe(true);
              due = next;
            }
          }
          check();
        }
      }),
    );
  });
});

describe("configuration", () => {
  it("refuses a token in clear to another host, and URLs with secrets in them", () => {
    expect(() => parsePortalUrl({ url: "http://portal.example" })).toThrow(/in clear/);
    expect(() => parsePortalUrl({ url: "ftp://portal.example" })).toThrow(TypeError);
    expect(() => parsePortalUrl({ url: "https://u:hunter2@portal.example" })).toThrow(/^(?!.*hunter2)/);
    expect(() => parsePortalUrl({ url: "https://portal.example/?token=hunter2" })).toThrow(/^(?!.*hunter2)/);
    expect(parsePortalUrl({ url: "http://127.0.0.1:8081/" }).href).toBe("ws://127.0.0.1:8081/relay/websocket");
    expect(parsePortalUrl({ url: "ws://[::1]:8081" }).href).toBe("ws://[::1]:8081/relay/websocket");
    expect(parsePortalUrl({ url: "ws://api:8081", allowCleartext: true }).host).toBe("api:8081");
    expect(parsePortalUrl({ url: "https://h.example/base/" }).href).toBe("wss://h.example/base/relay/websocket");
  });

  it("refuses a stamp secret or token of a wrong form, without repeating it", () => {
    expect(() => new Play({ stampSecret: "hunter2" })).toThrow(/^(?!.*hunter2)/);
    for (const token of ["", "hunter2\r\nx: y", "hünter2"]) expect(() => new Play({ token })).toThrow(/^(?!.*nter2)/);
    expect(() => new Play({ times: { heartbeatMs: 0 } })).toThrow(RangeError);
  });
});
