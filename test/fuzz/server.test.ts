import { readFileSync } from "node:fs";
import {
  attribute,
  channelNumber,
  data,
  decodeMessage,
  encodeChannelData,
  requestedTransport,
  transportAddress,
  xorPeerAddress,
} from "@turnpike/stun";
import { expect, test } from "vitest";
import { EngineHarness, TCP_LISTENER, UDP_LISTENER } from "../sim/support/engine-harness.ts";
import { heapInUse } from "../sim/support/heap.ts";
import { SeededRandom } from "../sim/support/random.ts";
import { StunClient } from "../sim/support/stun-client.ts";

const DATAGRAMS = Number(process.env["TURNPIKE_FUZZ_DATAGRAMS"] ?? 200_000);
const SEED = Number(process.env["TURNPIKE_FUZZ_SEED"] ?? 8656);
const CLIENT = transportAddress("198.51.100.7", 40_000);
const PEER = transportAddress("8.8.8.8", 5000);
const UDP = attribute(requestedTransport, 17);

/** Small datagrams that once reached a deep place: one of them is mutated each time. */
function corpus(): Uint8Array[] {
  const text = readFileSync(new URL("../corpus/server.hex", import.meta.url), "utf8");
  return text
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => Uint8Array.from(Buffer.from(line, "hex")));
}

test(
  `${DATAGRAMS} mutated datagrams: no exception, no answer to what isn't a request, no growth`,
  { timeout: 7_200_000 },
  () => {
    const random = new SeededRandom(SEED);
    const harness = new EngineHarness({ tcpRelay: true, mobility: true, unauthenticatedBytesPerSecond: 1e12 });
    const client = new StunClient({ username: "alice", password: "wonderland" }, harness.random);
    harness.fromClient(CLIENT, client.plain("allocate", [UDP]));
    client.learn(harness.answer());
    harness.fromClient(CLIENT, client.signed("allocate", [UDP]));
    const peer = attribute(xorPeerAddress, PEER);
    harness.fromClient(CLIENT, client.signed("channelBind", [attribute(channelNumber, 0x4001), peer]));
    harness.take();
    // Signed requests are part of the corpus, but only those that can't change what the test counts.
    const seeds = [
      ...corpus(),
      client.signed("createPermission", [peer]),
      client.indication("send", [peer, attribute(data, Uint8Array.of(1, 2, 3))]),
      encodeChannelData(0x4001, Uint8Array.of(1, 2, 3, 4, 5), { padded: false }),
    ];
    let heapBefore = 0;
    for (let i = 0; i < DATAGRAMS; i++) {
      if (i === Math.floor(DATAGRAMS / 10)) heapBefore = heapInUse();
      const bytes = mutate(random.pick(seeds), random);
      const isRequest = looksLikeRequest(bytes);
      harness.fromClient(CLIENT, bytes, i % 7 === 0 ? TCP_LISTENER : UDP_LISTENER);
      for (const output of harness.take()) {
        if (output.kind !== "sendToClient") continue;
        expect(isRequest).toBe(true);
        expect(decodeMessage(output.bytes).ok).toBe(true);
      }
      if (i % 1000 === 0) harness.fromPeer(0, PEER, bytes);
    }
    expect(harness.server.allocationCount).toBe(1);
    expect(harness.sockets.size).toBe(1);
    expect(heapInUse() - heapBefore).toBeLessThan(500_000);
  },
);

/** By the first bits alone, as a decoder of one's own would see it (RFC 8489 §5). */
function looksLikeRequest(bytes: Uint8Array): boolean {
  if (bytes.length < 20 || (bytes[0]! & 0xc1) !== 0 || (bytes[1]! & 0x10) !== 0) return false;
  return bytes[4] === 0x21 && bytes[5] === 0x12 && bytes[6] === 0xa4 && bytes[7] === 0x42;
}

function mutate(seed: Uint8Array, random: SeededRandom): Uint8Array {
  let bytes = seed.slice();
  for (let rounds = 1 + random.integer(4); rounds > 0; rounds--) {
    const at = random.integer(Math.max(1, bytes.length));
    switch (random.integer(6)) {
      case 0:
        bytes[at] = random.integer(256);
        break;
      case 1:
        bytes[at] = random.pick([0x00, 0x01, 0x7f, 0x80, 0xff]);
        break;
      case 2:
        bytes = bytes.slice(0, at);
        break;
      case 3: {
        const chunk = random.bytes(random.integer(12));
        bytes = Uint8Array.from([...bytes.subarray(0, at), ...chunk, ...bytes.subarray(at)]);
        break;
      }
      case 4:
        bytes.copyWithin(at, random.integer(Math.max(1, bytes.length)));
        break;
      default:
        // Keeps the length field right, so that mutations reach the attributes.
        if (bytes.length >= 20 && bytes.length % 4 === 0) {
          bytes[2] = (bytes.length - 20) >> 8;
          bytes[3] = (bytes.length - 20) & 0xff;
        }
    }
  }
  return bytes;
}
