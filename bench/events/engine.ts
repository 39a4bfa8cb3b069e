/**
 * What events cost the engine alone: with the hub of events, its outlets all on, and none listening, beside an engine that
 * can't tell events at all.
 */
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { RELAY_EVENT_TYPES } from "@turnpike/relay";
import {
  attribute,
  channelNumber,
  encodeChannelData,
  lifetime,
  requestedTransport,
  transportAddress,
  xorPeerAddress,
} from "@turnpike/stun";
import type { ServerOptions } from "@turnpike/turn";
import { EventHub } from "../../packages/relay/src/events/event-hub.ts";
import { EngineHarness, sourceOf, UDP_LISTENER } from "../../test/sim/support/engine-harness.ts";
import { StunClient } from "../../test/sim/support/stun-client.ts";

const PEER = transportAddress("8.8.8.8", 5000);
const CLIENT = transportAddress("198.51.100.7", 40_000);
const SESSIONS = 1500;
const PACKETS = 3_000_000;
const ROUNDS = 12;

interface Subject {
  readonly name: string;
  readonly options: Partial<ServerOptions>;
  readonly hub: EventHub | undefined;
}

function subjects(): readonly Subject[] {
  const logger = {
    debug: nothing,
    info: (fields: object) => void JSON.stringify(fields),
    warn: nothing,
    error: nothing,
  };
  const monotonicMs = (): number => performance.now();
  const silent = new EventHub({ logger, monotonicMs });
  const loud = new EventHub({ logger, monotonicMs, onEvent: nothing, log: { linesPerSecond: Infinity } });
  const stream = loud.stream();
  void (async () => {
    for await (const event of stream) void event;
  })();
  return [
    { name: "events off", options: { events: false }, hub: undefined },
    { name: "none listening", options: { events: (type) => silent.wants(type) }, hub: silent },
    { name: "handler, stream, log, channels", options: { events: (type) => loud.wants(type) }, hub: loud },
  ];
}

function nothing(): void {}

/** Drains as a reactor does. */
function drain(harness: EngineHarness, hub: EventHub | undefined): void {
  harness.drain();
  for (const output of harness.take()) if (output.kind === "event") hub?.publish(output.event);
}

/** Sessions a second: Allocate, ChannelBind, Refresh to nothing. */
function sessions({ options, hub }: Subject): number {
  const harness = new EngineHarness(options);
  const client = new StunClient({ username: "alice", password: "wonderland" }, harness.random);
  harness.fromClient(CLIENT, client.plain("allocate"));
  client.learn(harness.answer());
  const requests: Uint8Array[] = [];
  for (let i = 0; i < SESSIONS; i++) {
    requests.push(
      client.signed("allocate", [attribute(requestedTransport, 17)]),
      client.signed("channelBind", [attribute(channelNumber, 0x4000), attribute(xorPeerAddress, PEER)]),
      client.signed("refresh", [attribute(lifetime, 0)]),
    );
  }
  const startMs = performance.now();
  for (const request of requests) {
    harness.fromClient(CLIENT, request);
    drain(harness, hub);
  }
  return (SESSIONS * 1000) / (performance.now() - startMs);
}

/** Packets a second on a channel. */
function packets({ options }: Subject): number {
  const harness = new EngineHarness(options);
  const client = new StunClient({ username: "alice", password: "wonderland" }, harness.random);
  harness.fromClient(CLIENT, client.plain("allocate"));
  client.learn(harness.answer());
  harness.fromClient(CLIENT, client.signed("allocate", [attribute(requestedTransport, 17)]));
  harness.fromClient(
    CLIENT,
    client.signed("channelBind", [attribute(channelNumber, 0x4000), attribute(xorPeerAddress, PEER)]),
  );
  const data = encodeChannelData(0x4000, new Uint8Array(172), { padded: false });
  const buffer = new Uint8Array(48 + data.length + 4);
  buffer.set(data, 48);
  const source = sourceOf(CLIENT, UDP_LISTENER);
  const startMs = performance.now();
  for (let i = 0; i < PACKETS; i++) {
    harness.server.handleClientPacket(source, buffer, 48, data.length, harness.clock);
    if (harness.server.pollOutput() !== undefined) throw new Error("A packet made an output");
  }
  return (PACKETS * 1000) / (performance.now() - startMs);
}

/** One subject's best round: what others do on the machine only ever slows. */
export interface EngineRow {
  readonly name: string;
  readonly sessionsPerSecond: number;
  readonly packetsPerSecond: number;
}

/** Measures each subject in turns. */
export async function measureEngine(): Promise<readonly EngineRow[]> {
  const rows = new Map<string, EngineRow>();
  const compared = subjects();
  const loud = compared.at(-1)?.hub;
  const channels = RELAY_EVENT_TYPES.map(
    (type) => `turnpike:${type.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`,
  );
  for (let round = 0; round <= ROUNDS; round++) {
    for (const subject of compared) {
      const { name } = subject;
      // Channels are the process's own: they have subscribers only while the loud one is measured.
      for (const each of subject.hub === loud ? channels : []) subscribe(each, nothing);
      const [made, relayed] = [sessions(subject), packets(subject)];
      await new Promise((done) => setImmediate(done));
      for (const each of channels) unsubscribe(each, nothing);
      // The first round compiles.
      if (round === 0) continue;
      const best = rows.get(name);
      rows.set(name, {
        name,
        sessionsPerSecond: Math.max(made, best?.sessionsPerSecond ?? 0),
        packetsPerSecond: Math.max(relayed, best?.packetsPerSecond ?? 0),
      });
    }
  }
  return [...rows.values()];
}
