import {
  attribute,
  errorCode,
  getAttribute,
  nonce,
  passwordAlgorithm,
  passwordAlgorithms,
  rawAttribute,
  realm,
  requestedTransport,
  transportAddress,
  username,
  encodeMessage,
  decodeMessage,
} from "@turnpike/stun";
import { nodeCrypto } from "@turnpike/stun/node";
import { describe, expect, test } from "vitest";
import { EngineHarness, sourceOf, TCP_LISTENER, UDP_LISTENER } from "../sim/support/engine-harness.ts";
import { heapInUse } from "../sim/support/heap.ts";
import { outcomeOf, StunClient, stunOf } from "../sim/support/stun-client.ts";

const CLIENT = transportAddress("198.51.100.7", 40_000);
const UDP = attribute(requestedTransport, 17);
const ALICE = { username: "alice", password: "wonderland" };

function challenged(credentials: ConstructorParameters<typeof StunClient>[0] = ALICE): {
  harness: EngineHarness;
  client: StunClient;
} {
  const harness = new EngineHarness();
  const client = new StunClient(credentials, harness.random);
  harness.fromClient(CLIENT, client.plain("allocate", [UDP]));
  client.learn(harness.answer());
  return { harness, client };
}

describe("security case 6: no state for senders that prove nothing", () => {
  test("a million spoofed Allocates leave no allocation, no timer, no output, and no more heap", () => {
    const harness = new EngineHarness();
    const client = new StunClient(ALICE, harness.random);
    const bytes = client.plain("allocate", [UDP]);
    const buffer = new Uint8Array(48 + bytes.length + 4);
    buffer.set(bytes, 48);
    const source = sourceOf(CLIENT, UDP_LISTENER);
    const flood = (count: number): void => {
      for (let i = 0; i < count; i++) {
        source.remote.w3 = Math.imul(i, 0x9e3779b1);
        source.remote.port = i & 0xffff;
        harness.clock.monotonicMs += 0.001;
        harness.server.handleClientPacket(source, buffer, 48, bytes.length, harness.clock);
        while (harness.server.pollOutput() !== undefined);
      }
    };
    flood(50_000);
    const before = heapInUse();
    flood(1_000_000);
    const grown = heapInUse() - before;
    expect(harness.server.allocationCount).toBe(0);
    expect(harness.server.pollTimeout()).toBeUndefined();
    // A single byte for each sender would be a megabyte.
    expect(grown).toBeLessThan(500_000);
  });
});

describe("security case 7: the relay is no amplifier", () => {
  test("a 401 is less than four times as long as the smallest Allocate, a Binding answer less than three", () => {
    const harness = new EngineHarness({ realm: "turnpike" });
    const client = new StunClient(ALICE, harness.random);
    const allocate = client.plain("allocate", [UDP]);
    harness.fromClient(CLIENT, allocate);
    expect(harness.answer().bytes.length / allocate.length).toBeLessThan(4.5);
    const binding = client.plain("binding");
    harness.fromClient(CLIENT, binding);
    expect(harness.answer().bytes.length / binding.length).toBeLessThan(3);
  });

  test("what goes to one prefix is capped, whatever is asked, and others aren't affected", () => {
    const harness = new EngineHarness({ unauthenticatedBytesPerSecond: 10_000 });
    const client = new StunClient(ALICE, harness.random);
    let bytesOut = 0;
    for (let i = 0; i < 20_000; i++) {
      const neighbour = transportAddress(`198.51.100.${i % 256}`, 1024 + (i % 1000));
      harness.fromClient(neighbour, client.plain(i % 2 === 0 ? "allocate" : "binding", [UDP]));
      for (const output of harness.take()) if (output.kind === "sendToClient") bytesOut += output.bytes.length;
      harness.clock.advance(0.5);
    }
    // Ten seconds at 10,000 bytes, and a burst of four seconds' worth.
    expect(bytesOut).toBeLessThanOrEqual(140_000);
    expect(bytesOut).toBeGreaterThan(100_000);
    expect(harness.server.suppressedReplies).toBeGreaterThan(0);
    harness.fromClient(transportAddress("9.9.9.9", 1), client.plain("allocate", [UDP]));
    expect(outcomeOf(harness.answer())).toBe(401);
  });

  test("a plain 401 makes no event: a flood can't fill a log", () => {
    const harness = new EngineHarness();
    const client = new StunClient(ALICE, harness.random);
    for (let i = 0; i < 100; i++) harness.fromClient(CLIENT, client.plain("allocate", [UDP]));
    expect(harness.takeKinds().every((kind) => kind === "sendToClient")).toBe(true);
  });
});

describe("security case 8: hostile names", () => {
  test.each([
    ["longer than 508 bytes", new Uint8Array(513).fill(0x61), 400],
    ["not UTF-8", Uint8Array.of(0xff, 0xfe, 0x41), 400],
    ["with a NUL", new TextEncoder().encode("ali\0ce"), 401],
    ["with a newline", new TextEncoder().encode("alice\nbob"), 401],
    ["with an escape sequence", new TextEncoder().encode("\u001b[31malice"), 401],
    ["without a colon", new TextEncoder().encode("1700000000"), 401],
    ["empty", new Uint8Array(0), 401],
  ])("a name %s is refused and harms nothing", (_label, name, expected) => {
    const { harness, client } = challenged();
    const bytes = encodeMessage({
      class: "request",
      method: "allocate",
      transactionId: harness.random.bytes(12),
      attributes: [UDP, rawAttribute(0x0006, name), attribute(realm, client.realm), attribute(nonce, client.nonce)],
      integrity: { algorithm: "sha1", key: new Uint8Array(16), crypto: nodeCrypto },
    });
    harness.fromClient(CLIENT, bytes);
    expect(outcomeOf(harness.answer())).toBe(expected);
    expect(harness.server.allocationCount).toBe(0);
  });
});

describe("security case 9: nonces", () => {
  test("forged, of another address, of another port, of another relay, and stale: 438 each", () => {
    const { harness, client } = challenged();
    const good = client.nonce;
    const attempt = (used: string, from = CLIENT): number | "success" => {
      harness.fromClient(from, client.signed("refresh", [], { nonce: used }));
      return outcomeOf(harness.answer());
    };
    expect(attempt(good)).toBe(437);
    const flipped = good.slice(0, -1) + (good.endsWith("A") ? "B" : "A");
    expect(attempt(flipped)).toBe(438);
    expect(attempt(good.slice(0, 13))).toBe(438);
    expect(attempt("x".repeat(100))).toBe(438);
    expect(attempt(good, transportAddress("198.51.100.8", 40_000))).toBe(438);
    expect(attempt(good, transportAddress("198.51.100.7", 40_001))).toBe(438);
    const other = new EngineHarness({ nonceKey: new Uint8Array(32).fill(8) });
    other.fromClient(CLIENT, client.plain("allocate", [UDP]));
    const foreign = getAttribute(other.answer(), nonce);
    expect(attempt(foreign?.ok ? foreign.value : "")).toBe(438);
    harness.clock.advance(600_000);
    expect(attempt(good)).toBe(438);
  });
});

describe("security case 10: messages that are almost right", () => {
  test("attributes after MESSAGE-INTEGRITY change nothing", () => {
    const { harness, client } = challenged();
    const signed = client.signed("allocate", [UDP]);
    const extra = [0x00, 0x0d, 0x00, 0x04, 0x00, 0x00, 0x00, 0x00];
    const tampered = Uint8Array.from([...signed, ...extra]);
    new DataView(tampered.buffer).setUint16(2, tampered.length - 20);
    harness.fromClient(CLIENT, tampered);
    expect(outcomeOf(harness.answer())).toBe("success");
  });

  test("of duplicated attributes the first counts", () => {
    const { harness, client } = challenged();
    harness.fromClient(CLIENT, client.signed("allocate", [UDP, attribute(requestedTransport, 99)]));
    expect(outcomeOf(harness.answer())).toBe("success");
  });

  test.each([
    ["no magic cookie", (bytes: Uint8Array) => bytes.fill(0, 4, 8)],
    ["a length beyond the datagram", (bytes: Uint8Array) => bytes.fill(0xff, 2, 4)],
    ["the class of an answer", (bytes: Uint8Array) => bytes.fill(0x01, 0, 1)],
    ["a wrong FINGERPRINT", (bytes: Uint8Array) => bytes.fill(0x00, bytes.length - 4)],
    ["a cut-off end", (bytes: Uint8Array) => bytes.subarray(0, bytes.length - 3)],
  ])("%s: silence", (_label, spoil) => {
    const { harness, client } = challenged();
    harness.fromClient(CLIENT, spoil(client.plain("allocate", [UDP], true)));
    expect(harness.take()).toEqual([]);
  });

  test("thousands of attributes in one TCP frame: silence", () => {
    const { harness, client } = challenged();
    const attributes = Array.from({ length: 16_000 }, () => rawAttribute(0x8000, new Uint8Array(0)));
    harness.fromClient(CLIENT, client.plain("binding", attributes), TCP_LISTENER);
    expect(harness.take()).toEqual([]);
  });
});

describe("security case 11: bid-down", () => {
  test("the challenge offers SHA-256 first and its nonce says that it offered algorithms", () => {
    const { client } = challenged();
    expect(client.offered.map((entry) => entry.algorithm)).toEqual([2, 1]);
    expect(client.nonce.startsWith("obMatJos2gAAA")).toBe(true);
  });

  test("a client that can do SHA-256 uses it, and is answered with MESSAGE-INTEGRITY-SHA256", () => {
    const { harness, client } = challenged({ ...ALICE, algorithm: "sha256" });
    harness.fromClient(CLIENT, client.signed("allocate", [UDP]));
    const answer = harness.answer();
    expect(outcomeOf(answer)).toBe("success");
    expect(answer.attributes.some(({ type }) => type === 0x001c)).toBe(true);
    expect(answer.attributes.some(({ type }) => type === 0x0008)).toBe(false);
  });

  const lists = [
    ["PASSWORD-ALGORITHMS stripped of SHA-256", [1], 1],
    ["PASSWORD-ALGORITHMS in another order", [1, 2], 2],
    ["an algorithm that wasn't offered", [2, 1], 3],
    ["an empty list", [], 1],
  ] as const;
  test.each(lists)("%s gets 400", (_label, echoed, chosen) => {
    const { harness, client } = challenged();
    const empty = new Uint8Array(0);
    harness.fromClient(
      CLIENT,
      client.signed("allocate", [
        UDP,
        attribute(
          passwordAlgorithms,
          echoed.map((algorithm) => ({ algorithm, parameters: empty })),
        ),
        attribute(passwordAlgorithm, { algorithm: chosen, parameters: empty }),
      ]),
    );
    expect(outcomeOf(harness.answer())).toBe(400);
  });

  test("PASSWORD-ALGORITHM without the list gets 400", () => {
    const { harness, client } = challenged();
    const chosen = attribute(passwordAlgorithm, { algorithm: 1, parameters: new Uint8Array(0) });
    harness.fromClient(CLIENT, client.signed("allocate", [UDP, chosen]));
    expect(outcomeOf(harness.answer())).toBe(400);
  });
});

describe("security case 12: unknown user and wrong password are the same to see", () => {
  test("code, text and size", () => {
    const answers = [
      { username: "nobody", password: "x" },
      { username: "alice1", password: "x" },
      { username: "alice", password: "wrong" },
    ].map((credentials) => {
      const { harness, client } = challenged(credentials);
      harness.fromClient(CLIENT, client.signed("allocate", [UDP]));
      return harness.answer();
    });
    const seen = answers.map((answer) => ({
      code: getAttribute(answer, errorCode),
      size: answer.bytes.length,
      types: answer.attributes.map(({ type }) => type),
    }));
    expect(seen[1]).toEqual(seen[0]);
    expect(seen[2]).toEqual(seen[0]);
  });
});

test("requests that lack what integrity needs get 400 without integrity", () => {
  const { harness, client } = challenged();
  const lacking = [
    [attribute(username, "alice"), attribute(realm, client.realm)],
    [attribute(username, "alice"), attribute(nonce, client.nonce)],
    [attribute(realm, client.realm), attribute(nonce, client.nonce)],
  ];
  for (const attributes of lacking) {
    const bytes = encodeMessage({
      class: "request",
      method: "allocate",
      transactionId: harness.random.bytes(12),
      attributes: [UDP, ...attributes],
      integrity: { algorithm: "sha1", key: client.key(), crypto: nodeCrypto },
    });
    harness.fromClient(CLIENT, bytes);
    const answer = harness.answer();
    expect(outcomeOf(answer)).toBe(400);
    expect(answer.attributes.some(({ type }) => type === 0x0008 || type === 0x001c)).toBe(false);
  }
  expect(decodeMessage(stunOf(client.plain("allocate")).bytes).ok).toBe(true);
});
