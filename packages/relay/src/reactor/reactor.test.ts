import { AddressRegister, transportAddress } from "@turnpike/stun";
import {
  type Answer,
  ClientSource,
  type Forward,
  type LifecycleEvent,
  type Now,
  type Output,
  type ServerEngine,
  Verdict,
} from "@turnpike/turn";
import { describe, expect, test } from "vitest";
import { HairpinMap } from "../addresses/hairpin-map.ts";
import { PortLeases } from "../ports/port-leases.ts";
import { PortTable } from "../ports/port-table.ts";
import { FakePlane } from "../testing/fake-plane.ts";
import { RecordingLogger } from "../testing/recording-logger.ts";
import { VirtualClock } from "../testing/virtual-clock.ts";
import { Reactor, type ReactorOptions } from "./reactor.ts";
import { RelaySockets } from "./relay-sockets.ts";

const PEER = transportAddress("192.0.2.7", 7);
const LOCAL = transportAddress("192.0.2.1", 0);
const AUTHENTICATED: Answer = { kind: "authentication", questionId: 9, decision: { kind: "notRequested" } };

/** An engine that does what the test says, and notes each input with the outputs that were left undrained before it. */
class ScriptedEngine implements ServerEngine {
  readonly log: string[] = [];
  readonly outputs: Output[] = [];
  readonly forward: Forward = {
    socket: 5,
    listener: 2,
    connection: 0,
    destination: PEER,
    offset: 44,
    length: 14,
    dontFragment: true,
  };
  verdict: Verdict = Verdict.consumed;
  timeoutMs: number | undefined;
  onInput: (name: string) => void = () => {};
  #inside = false;

  handleClientPacket(): Verdict {
    this.#input("client");
    return this.verdict;
  }
  handlePeerPacket(): Verdict {
    this.#input("peer");
    return this.verdict;
  }
  handleAnswer(answer: Answer): void {
    this.#input(`answer ${answer.kind} ${answer.questionId}`);
  }
  hasAllocation(): boolean {
    return false;
  }
  handleHandedOver(): void {
    this.#input("handedOver");
  }
  handlePeerIcmp(socket: number): void {
    this.#input(`icmp ${socket}`);
  }
  handlePeerConnection(): void {
    this.#input("peerConnection");
  }
  handlePeerConnectionClosed(): void {
    this.#input("peerConnectionClosed");
  }
  handleClientClosed(): void {
    this.#input("closed");
  }
  handleRelaySocketError(socket: number): void {
    this.#input(`socketError ${socket}`);
  }
  handleTimeout(now: Now): void {
    this.timeoutMs = undefined;
    this.#input(`timeout ${now.monotonicMs}`);
  }
  shutdown(): void {
    this.#input("shutdown");
  }
  pollOutput(): Output | undefined {
    return this.outputs.shift();
  }
  pollTimeout(): number | undefined {
    return this.timeoutMs;
  }

  #input(name: string): void {
    const left = this.outputs.length === 0 ? "" : ` with ${this.outputs.length} outputs left`;
    this.log.push(`${name}${left}${this.#inside ? " inside another input" : ""}`);
    this.#inside = true;
    try {
      this.onInput(name);
    } finally {
      this.#inside = false;
    }
  }
}

function create(overrides: Partial<ReactorOptions> = {}) {
  const engine = new ScriptedEngine();
  const plane = new FakePlane();
  const clock = new VirtualClock();
  const logger = new RecordingLogger();
  const addresses = [{ local: LOCAL, relayed: LOCAL }];
  const table = new PortTable({ range: { min: 50_000, max: 50_063 }, spaces: 1 });
  const leases = new PortLeases({ table, reactor: 0, randomInteger: () => 0 });
  const relaySockets = new RelaySockets({
    plane,
    leases,
    addresses,
    hairpin: new HairpinMap({ relayAddresses: addresses, ownAddresses: [] }),
    logger,
    randomInteger: () => 0,
    monotonicMs: () => clock.now().monotonicMs,
  });
  const released: number[] = [];
  const reactor = new Reactor({
    engine,
    plane,
    relaySockets,
    clock,
    logger,
    admit: () => ({ admitted: true }),
    release: (questionId) => released.push(questionId),
    ...overrides,
  });
  const packet = (): void =>
    reactor.handleClientPacket(new ClientSource(new AddressRegister()), new Uint8Array(80), 48, 10);
  return { engine, plane, clock, logger, leases, relaySockets, released, reactor, packet };
}

const openQuestion = (questionId: number): Output => ({
  kind: "openRelaySocket",
  questionId,
  transport: "udp",
  families: [4],
  port: "any",
});
const admitQuestion = (questionId: number): Output => ({
  kind: "admit",
  questionId,
  username: "u",
  actor: "a",
  scheme: "s",
  listener: 2,
  client: PEER,
});
const eventOutput = (username: string): Output => {
  const fiveTuple = { transport: "udp", client: PEER, server: LOCAL } as const;
  const event: LifecycleEvent = {
    type: "authSucceeded",
    method: "allocate",
    username,
    actor: username,
    scheme: "static",
    fiveTuple,
    atUnixMs: 0,
  };
  return { kind: "event", event };
};

describe("every input is followed by a complete drain", () => {
  test("after packets, answers, errors, time-outs and the end", () => {
    const { engine, reactor, packet, clock, leases } = create();
    engine.onInput = (name) => {
      if (name === "client") {
        engine.outputs.push(admitQuestion(1), openQuestion(2), openQuestion(3), admitQuestion(4));
      } else if (!name.startsWith("answer")) {
        engine.outputs.push({ kind: "closeRelaySocket", socket: 77 }, { kind: "releaseAdmission", questionId: 1 });
      }
    };
    engine.timeoutMs = 1500;
    packet();
    reactor.handlePeerPacket(0, PEER, new Uint8Array(80), 48, 1);
    reactor.handleAnswer(AUTHENTICATED);
    reactor.handleRelaySocketError(0, "EBADF");
    reactor.handlePeerIcmp(0, PEER, { type: 3, code: 3, data: 0 });
    clock.advance(1000);
    reactor.stop();
    expect(engine.log).toEqual([
      "client",
      "answer admission 1",
      "answer relaySocketOpened 2",
      "answer relaySocketOpened 3",
      "answer admission 4",
      "peer",
      "answer authentication 9",
      "socketError 0",
      "icmp 0",
      "timeout 1500",
      "shutdown",
    ]);
    expect(engine.outputs).toEqual([]);
    expect(leases.inUse).toBe(0);
  });

  test("an answer that comes while the engine is at work waits for it", () => {
    const { engine, reactor, packet } = create();
    engine.onInput = (name) => {
      if (name === "client") {
        reactor.handleAnswer(AUTHENTICATED);
        engine.outputs.push(openQuestion(1));
      }
    };
    packet();
    expect(engine.log).toEqual(["client", "answer authentication 9", "answer relaySocketOpened 1"]);
  });
});

describe("a reactor", () => {
  test("forwards what the engine says, from the packet's own buffer", () => {
    const { engine, plane, packet, reactor } = create();
    engine.verdict = Verdict.toPeer;
    packet();
    engine.verdict = Verdict.toClient;
    reactor.handlePeerPacket(1, PEER, new Uint8Array(80), 48, 10);
    engine.verdict = Verdict.consumed;
    packet();
    engine.onInput = () => {
      engine.outputs.push({
        kind: "sendToClient",
        listener: 1,
        connection: 3,
        destination: PEER,
        bytes: new Uint8Array(5),
      });
    };
    packet();
    expect(plane.sent).toEqual(["peer 5 7 44+14 DF", "client 2/0 7 44+14", "client 1/3 7 0+5"]);
  });

  test("has one timer, moved only by an earlier time", () => {
    const { engine, clock, packet } = create();
    engine.timeoutMs = 5000;
    packet();
    expect([clock.pending, clock.scheduled]).toEqual([1, 1]);
    engine.timeoutMs = 9000;
    packet();
    expect([clock.pending, clock.scheduled]).toEqual([1, 1]);
    engine.timeoutMs = 2000;
    packet();
    expect([clock.pending, clock.scheduled]).toEqual([1, 2]);
    engine.timeoutMs = 3000;
    clock.advance(1000);
    expect([clock.pending, clock.scheduled]).toEqual([1, 3]);
    clock.advance(1000);
    expect(clock.pending).toBe(0);
    expect(engine.log).toEqual(["client", "client", "client", "timeout 3000"]);
  });

  test("a packet that breaks the engine costs itself only, and does not flood the log", () => {
    const { engine, logger, packet, reactor } = create();
    engine.onInput = (name) => {
      if (name === "client") {
        throw new TypeError("broken");
      }
    };
    for (let index = 0; index < 1000; index++) {
      packet();
    }
    reactor.handlePeerPacket(1, PEER, new Uint8Array(80), 48, 10);
    expect(engine.log.at(-1)).toBe("peer");
    expect(reactor.internalErrors).toBe(1000);
    expect(logger.messages("error")).toHaveLength(1);
  });

  test("hands events over when the engine is at rest, whatever the handler does", () => {
    const seen: string[] = [];
    const { engine, logger, packet } = create({
      onEvent: (event) => {
        seen.push(event.type === "authSucceeded" ? event.username : event.type);
        if (seen.length === 1) {
          expect(engine.outputs).toEqual([]);
          engine.onInput = () => engine.outputs.push(eventOutput("third"));
          packet();
          throw new Error("handler");
        }
      },
    });
    engine.onInput = () => engine.outputs.push(eventOutput("first"), eventOutput("second"));
    packet();
    expect(seen).toEqual(["first", "third", "second"]);
    expect(logger.messages("error")).toEqual(["An event handler threw"]);
  });

  test("after its end takes nothing and leaves no timer", () => {
    const { engine, clock, packet, reactor } = create();
    engine.timeoutMs = 5000;
    packet();
    reactor.stop();
    packet();
    reactor.handlePeerPacket(1, PEER, new Uint8Array(80), 48, 10);
    reactor.handleAnswer(AUTHENTICATED);
    reactor.handleRelaySocketError(1, "EBADF");
    reactor.stop();
    clock.advance(100_000);
    expect(engine.log).toEqual(["client", "shutdown"]);
    expect(clock.pending).toBe(0);
  });

  test("counts what it can't carry out as an error of the program, and goes on", () => {
    const { engine, released, packet, reactor } = create();
    engine.onInput = () =>
      engine.outputs.push(
        { kind: "closePeerConnection", peerConnection: 1 },
        { kind: "releaseAdmission", questionId: 12 },
      );
    packet();
    expect([reactor.internalErrors, released]).toEqual([1, [12]]);
  });

  test("gives shares of admissions back", () => {
    const { engine, released, packet } = create();
    engine.onInput = () => engine.outputs.push({ kind: "releaseAdmission", questionId: 12 });
    packet();
    expect(released).toEqual([12]);
  });
});
