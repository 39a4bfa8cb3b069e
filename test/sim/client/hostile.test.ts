import {
  attributes as registry,
  encodeMessage,
  rawAttribute,
  transportAddress,
  type AttributeEntry,
  type MessageClass,
  type Method,
} from "@turnpike/stun";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { EngineHarness, TCP_LISTENER, UDP_LISTENER } from "../support/engine-harness.ts";
import { SimNetwork } from "../support/sim-network.ts";
import { stunOf } from "../support/stun-client.ts";

const HOME = transportAddress("198.51.100.7", 40_000);
const PEER = transportAddress("8.8.8.8", 5000);

const bytes = (maxLength: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ maxLength });
const types = Object.values<AttributeEntry>(registry)
  .map(({ number }) => number)
  .filter((type) => type !== registry.fingerprint.number);
const attribute = fc.tuple(fc.oneof(fc.constantFrom(...types), fc.integer({ min: 0, max: 0xffff })), bytes(40));
const message = fc.record({
  class: fc.constantFrom<MessageClass[]>("request", "indication", "success", "error"),
  method: fc.constantFrom<Method[]>("binding", "allocate", "refresh", "data", "connectionAttempt", "channelBind"),
  answersLast: fc.boolean(),
  attributes: fc.array(attribute, { maxLength: 8 }),
});
const hostile = fc.oneof(
  fc.record({ kind: fc.constant("bytes" as const), bytes: bytes(200) }),
  fc.record({ kind: fc.constant("message" as const), message }),
  fc.record({
    kind: fc.constant("mutation" as const),
    flips: fc.array(fc.tuple(fc.nat(2000), fc.nat(255)), { minLength: 1, maxLength: 5 }),
    length: fc.option(fc.nat(300)),
  }),
);

test("whatever the server sends: nothing throws, timers end, and no operation ends twice", () => {
  fc.assert(
    fc.property(fc.boolean(), fc.array(hostile, { maxLength: 30 }), fc.boolean(), (isStream, list, isAllocated) => {
      const network = new SimNetwork(new EngineHarness());
      const client = network.client(HOME, { listener: isStream ? TCP_LISTENER : UDP_LISTENER });
      const now = network.harness.clock;
      network.act(client, (engine) => engine.allocate({}, now));
      if (isAllocated) {
        network.advance(100);
        network.act(client, (engine) => engine.bindChannel(PEER, now));
      }
      network.drop = ({ from }) => from === "server";
      for (const each of list) {
        const last = network.sent.findLast(({ from }) => from === "client")!.bytes;
        let packet: Uint8Array;
        if (each.kind === "bytes") packet = each.bytes;
        else if (each.kind === "message") {
          const isMessage = ((last[0] ?? 0) & 0xc0) === 0;
          packet = encodeMessage({
            class: each.message.class,
            method: each.message.method,
            transactionId: each.message.answersLast && isMessage ? stunOf(last).transactionId : new Uint8Array(12),
            attributes: each.message.attributes.map(([type, value]) => rawAttribute(type, value)),
          });
        } else {
          const answer = network.sent.findLast(({ from }) => from === "server")?.bytes ?? last;
          packet = answer.slice(0, each.length ?? answer.length);
          for (const [at, value] of each.flips) if (packet.length > 0) packet[at % packet.length]! ^= value;
        }
        network.act(client, (engine) => engine.handlePacket(packet, 0, packet.length, now));
        network.advance(200);
      }
      network.drop = () => true;
      network.advance(4_000_000_000);
      expect(client.engine.isAllocated).toBe(false);
      expect(client.engine.pollTimeout()).toBeUndefined();
      expect(client.engine.encodeDatagram(PEER, Uint8Array.of(1), now)).toBeUndefined();
    }),
    { numRuns: 300 },
  );
});
