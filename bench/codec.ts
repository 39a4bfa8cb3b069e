/**
 * Micro-benchmarks of the codec and of the engine without sockets: nanoseconds for each operation, the median of
 * several rounds. `npm run bench:codec` prints the table; with `--write` it becomes docs/performance/codec.md.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import {
  AddressRegister,
  attribute,
  channelNumber,
  data,
  decodeMessage,
  encodeChannelData,
  encodeMessage,
  longTermKey,
  nonce,
  realm,
  requestedTransport,
  scanSendIndication,
  SendIndicationView,
  transportAddress,
  username,
  verifyIntegrity,
  writeDataIndicationHeader,
  xorMappedAddress,
  xorPeerAddress,
} from "@turnpike/stun";
import { nodeCrypto } from "@turnpike/stun/node";
import { ClientSource, PACKET_HEADROOM } from "@turnpike/turn";
import { EngineHarness, UDP_LISTENER } from "../test/sim/support/engine-harness.ts";
import { StunClient } from "../test/sim/support/stun-client.ts";

const ROUNDS = 7;
const ROUND_MS = 120;

/** Median nanoseconds of one call of `operation`. */
function measure(operation: () => void): number {
  const rounds: number[] = [];
  for (let round = 0; round <= ROUNDS; round++) {
    let calls = 0;
    const begin = performance.now();
    while (performance.now() - begin < ROUND_MS) {
      for (let i = 0; i < 500; i++) operation();
      calls += 500;
    }
    if (round > 0) rounds.push(((performance.now() - begin) * 1e6) / calls);
  }
  rounds.sort((a, b) => a - b);
  return rounds[ROUNDS >> 1]!;
}

const PEER = transportAddress("8.8.8.8", 5000);
const CLIENT = transportAddress("198.51.100.7", 40_000);
const transactionId = new Uint8Array(12).fill(1);
const key = longTermKey({ algorithm: "md5", username: "alice", realm: "r", password: "p", crypto: nodeCrypto });
const binding = encodeMessage({ class: "request", method: "binding", transactionId, attributes: [] });
const allocate = encodeMessage({
  class: "request",
  method: "allocate",
  transactionId,
  attributes: [
    attribute(requestedTransport, 17),
    attribute(username, "alice"),
    attribute(realm, "example.org"),
    attribute(nonce, "obMatJos2gAAAcNvYgN_h0RkOy7QAKr3gjQ"),
  ],
  integrity: { algorithm: "sha1", key, crypto: nodeCrypto },
});
const decodedAllocate = decodeMessage(allocate);
if (!decodedAllocate.ok) throw new Error("The benchmark's message must be right");
const payload = new Uint8Array(172).fill(7);
const send = encodeMessage({
  class: "indication",
  method: "send",
  transactionId,
  attributes: [attribute(xorPeerAddress, PEER), attribute(data, payload)],
});
const view = new SendIndicationView();
const room = new Uint8Array(PACKET_HEADROOM + payload.length + 4);

/** An engine with one channel, and what arrives at it. */
function relaying(): { fromClient: () => void; fromPeer: () => void; challenge: () => void } {
  const harness = new EngineHarness({ events: false, unauthenticatedBytesPerSecond: Number.POSITIVE_INFINITY });
  const client = new StunClient({ username: "alice", password: "wonderland" }, harness.random);
  harness.fromClient(CLIENT, client.plain("allocate", [attribute(requestedTransport, 17)]));
  client.learn(harness.answer());
  harness.fromClient(CLIENT, client.signed("allocate", [attribute(requestedTransport, 17)]));
  harness.answer();
  const bind = [attribute(channelNumber, 0x4001), attribute(xorPeerAddress, PEER)];
  harness.fromClient(CLIENT, client.signed("channelBind", bind));
  harness.take();
  const source = new ClientSource(new AddressRegister());
  source.remote.set(CLIENT);
  source.listener = UDP_LISTENER.id;
  const channelData = encodeChannelData(0x4001, payload, { padded: false });
  const packet = new Uint8Array(PACKET_HEADROOM + channelData.length + 4);
  packet.set(channelData, PACKET_HEADROOM);
  const peer = new AddressRegister();
  peer.set(PEER);
  const { server, clock } = harness;
  const plain = client.plain("allocate", [attribute(requestedTransport, 17)]);
  return {
    fromClient: () => void server.handleClientPacket(source, packet, PACKET_HEADROOM, channelData.length, clock),
    fromPeer: () => void server.handlePeerPacket(0, peer, room, PACKET_HEADROOM, payload.length, clock),
    challenge: () => {
      server.handleClientPacket(source, plain, 0, plain.length, clock);
      while (server.pollOutput() !== undefined);
    },
  };
}

const engine = relaying();
const rows: readonly (readonly [string, () => void])[] = [
  ["decode a Binding request", () => void decodeMessage(binding)],
  ["decode an Allocate request", () => void decodeMessage(allocate)],
  [
    "encode a Binding answer",
    () =>
      void encodeMessage({
        class: "success",
        method: "binding",
        transactionId,
        attributes: [attribute(xorMappedAddress, CLIENT)],
      }),
  ],
  [
    "check MESSAGE-INTEGRITY",
    () => void verifyIntegrity(decodedAllocate.message, { algorithm: "sha1", key, crypto: nodeCrypto }),
  ],
  ["scan a Send indication", () => void scanSendIndication(send, 0, send.length, view)],
  [
    "build a Data indication in place",
    () => void writeDataIndicationHeader(room, PACKET_HEADROOM, payload.length, PEER, transactionId),
  ],
  ["engine: ChannelData from a client", engine.fromClient],
  ["engine: a datagram from a peer, by channel", engine.fromPeer],
  ["engine: an Allocate request challenged", engine.challenge],
];

const lines = rows.map(([name, operation]) => {
  const nanoseconds = measure(operation);
  return `| ${name} | ${nanoseconds.toFixed(nanoseconds < 100 ? 1 : 0)} | ${(1e3 / nanoseconds).toFixed(2)} |`;
});
const table = ["| operation | ns | million a second |", "| --- | ---: | ---: |", ...lines].join("\n");
console.log(table);
if (process.argv.includes("--write")) {
  mkdirSync("docs/performance", { recursive: true });
  writeFileSync(
    "docs/performance/codec.md",
    `# Codec and engine without sockets\n\nWritten by \`npm run bench:codec -- --write\` on ${cpus()[0]?.model ?? "?"}, Node ${process.version}.\n\n${table}\n`,
  );
}
