import fc from "fast-check";
import { formatTransportAddress, transportAddress } from "@turnpike/stun";
import { describe, expect, test } from "vitest";
import { ConnectionLimits } from "./connection-limits.ts";
import { OutputQueue } from "./output-queue.ts";
import { readProxyHeader } from "./proxy-protocol.ts";
import { sniff } from "./sniff.ts";
import { resolveStreamLimits } from "./stream-options.ts";

const SIGNATURE = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];
const V2_TCP4 = Uint8Array.of(...SIGNATURE, 0x21, 0x11, 0, 12, 192, 0, 2, 1, 192, 0, 2, 2, 0x12, 0x67, 0x0d, 0x96);
const V2_TCP6 = Buffer.concat([
  Uint8Array.of(...SIGNATURE, 0x21, 0x21, 0, 39),
  Uint8Array.of(0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1),
  Uint8Array.of(0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2),
  Uint8Array.of(0x12, 0x67, 0x0d, 0x96, 4, 0, 0),
]);

describe("the first bytes of a connection", () => {
  test.each([
    ["nothing", [], "more"],
    ["a TLS record", [0x16, 0x03], "tls"],
    ["half a TLS record", [0x16], "more"],
    ["a STUN method that looks like TLS", [0x16, 0x00], "unknown"],
    ["GET", [...Buffer.from("GET /")], "http"],
    ["half of GET", [...Buffer.from("GE")], "more"],
    ["a channel number that looks like GET", [0x47, 0x45, 0x00, 0x04], "unknown"],
    ["POST", [...Buffer.from("POST")], "unknown"],
    ["a Binding request", [0x00, 0x01], "turn"],
    ["ChannelData, which can't be first", [0x40, 0x00], "unknown"],
  ] as const)("%s", (_what, bytes, spoken) => {
    expect(sniff(Uint8Array.from(bytes))).toBe(spoken);
  });

  test("more bytes don't change what was told", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 8 }), fc.uint8Array({ maxLength: 8 }), (first, rest) => {
        const spoken = sniff(first);
        return spoken === "more" || sniff(Uint8Array.from([...first, ...rest])) === spoken;
      }),
    );
  });
});

describe("PROXY headers", () => {
  const clientOf = (bytes: Uint8Array): string | undefined => {
    const header = readProxyHeader(bytes);
    return header.kind === "header" && header.client ? formatTransportAddress(header.client) : undefined;
  };

  test("version 1 and 2 tell the client's address, and where the connection goes on", () => {
    const line = Buffer.from("PROXY TCP4 192.0.2.1 192.0.2.2 4711 3478\r\nrest");
    expect(clientOf(line)).toBe("192.0.2.1:4711");
    expect(readProxyHeader(line)).toMatchObject({ length: line.length - 4 });
    expect(clientOf(Buffer.from("PROXY TCP6 2001:db8::1 2001:db8::2 4711 3478\r\n"))).toBe("[2001:db8::1]:4711");
    expect(clientOf(V2_TCP4)).toBe("192.0.2.1:4711");
    expect(clientOf(V2_TCP6)).toBe("[2001:db8::1]:4711");
    expect(readProxyHeader(V2_TCP6)).toMatchObject({ length: V2_TCP6.length });
  });

  test("a proxy that speaks for itself names nobody", () => {
    const nobody = { kind: "header", client: undefined };
    expect(readProxyHeader(Buffer.from("PROXY UNKNOWN\r\n"))).toMatchObject(nobody);
    expect(readProxyHeader(Uint8Array.of(...SIGNATURE, 0x20, 0, 0, 0))).toMatchObject(nobody);
  });

  test("every beginning of a header asks for more", () => {
    for (const whole of [V2_TCP4, V2_TCP6, Buffer.from("PROXY TCP4 192.0.2.1 192.0.2.2 4711 3478\r\n")]) {
      for (let length = 0; length < whole.length; length++) {
        expect(readProxyHeader(whole.subarray(0, length)).kind).toBe("more");
      }
    }
  });

  test.each([
    "GET / HTTP/1.1\r\n",
    "PROXY TCP4 192.0.2.1 192.0.2.2 4711 3478\n",
    "PROXY TCP4 192.0.2.1 192.0.2.2 4711\r\n",
    "PROXY TCP4 192.0.2.1 192.0.2.2 4711 65536\r\n",
    "PROXY TCP4 192.0.2.1 192.0.2.2 04711 3478\r\n",
    "PROXY TCP4 2001:db8::1 192.0.2.2 4711 3478\r\n",
    "PROXY TCP6 192.0.2.1 192.0.2.2 4711 3478\r\n",
    "PROXY UDP4 192.0.2.1 192.0.2.2 4711 3478\r\n",
    `PROXY TCP4 ${"1".repeat(200)}`,
  ])("%j is an error", (text) => {
    expect(readProxyHeader(Buffer.from(text)).kind).toBe("error");
  });

  test.each([
    ["version 1 in version 2's clothes", [0x11, 0x11, 0, 12]],
    ["an unknown command", [0x22, 0x11, 0, 12]],
    ["UDP", [0x21, 0x12, 0, 12]],
    ["an address that is too short", [0x21, 0x11, 0, 4]],
    ["a length without end", [0x21, 0x11, 0xff, 0xff]],
  ])("%s is an error", (_what, bytes) => {
    expect(readProxyHeader(Uint8Array.of(...SIGNATURE, ...bytes, ...new Uint8Array(16))).kind).toBe("error");
  });
});

describe("the output queue", () => {
  test("is bounded, keeps the order, drops the oldest datagrams and no answer", () => {
    const message = fc.record({ length: fc.integer({ min: 1, max: 60 }), isDatagram: fc.boolean(), shifts: fc.nat(2) });
    fc.assert(
      fc.property(fc.array(message, { maxLength: 200 }), (messages) => {
        const queue = new OutputQueue(100);
        let model: { readonly id: number; readonly length: number; readonly isDatagram: boolean }[] = [];
        let dropped = 0;
        for (const [id, { length, isDatagram, shifts }] of messages.entries()) {
          const bytes = new Uint8Array(length).fill(id & 0xff);
          let wanted = true;
          while (model.reduce((sum, each) => sum + each.length, 0) + length > 100) {
            const oldest = model.find((each) => each.isDatagram);
            if (oldest === undefined) {
              wanted = false;
              break;
            }
            model = model.filter((each) => each !== oldest);
            dropped++;
          }
          if (wanted) model.push({ id, length, isDatagram });
          else if (isDatagram) dropped++;
          expect(queue.push(bytes, isDatagram)).toBe(wanted || isDatagram);
          for (let shift = 0; shift < shifts; shift++) {
            expect(queue.shift()?.[0]).toBe(model[0] && model[0].id & 0xff);
            model = model.slice(1);
          }
          expect(queue.bytes).toBe(model.reduce((sum, each) => sum + each.length, 0));
          expect(queue.dropped).toBe(dropped);
        }
      }),
    );
  });

  test("security case 18: a client that never reads costs no more with every datagram", () => {
    const queue = new OutputQueue(65_536);
    for (let count = 0; count < 100_000; count++) queue.push(new Uint8Array(1000), true);
    expect(queue.bytes).toBe(65_000);
    expect(queue.dropped).toBe(100_000 - 65);
  });
});

test("security case 5: connections are counted in all and by prefix, and forgotten", () => {
  const limits = new ConnectionLimits({ maxConnections: 3, maxConnectionsPerPrefix: 1 });
  expect([1, 2, 3, 4].map(() => limits.enter())).toEqual([true, true, true, false]);
  const [near, neighbour, far] = [
    transportAddress("192.0.2.1", 1),
    transportAddress("192.0.2.9", 1),
    transportAddress("192.0.3.1", 1),
  ];
  expect([limits.enterPrefix(near), limits.enterPrefix(neighbour), limits.enterPrefix(far)]).toEqual([
    true,
    false,
    true,
  ]);
  const [v6, sameSite] = [transportAddress("2001:db8:0:1::1", 1), transportAddress("2001:db8:0:ff::1", 1)];
  expect([limits.enterPrefix(v6), limits.enterPrefix(sameSite)]).toEqual([true, false]);
  for (const address of [near, far, v6]) limits.leavePrefix(address);
  expect(limits.prefixes).toBe(0);
});

test("limits that make no sense are refused", () => {
  for (const limits of [
    { connectTimeoutMs: 1000 },
    { maxConnections: 0 },
    { maxOutputQueueBytes: 10 },
    { idleTimeoutMs: NaN },
  ]) {
    expect(() => resolveStreamLimits(limits)).toThrow("Cannot serve streams");
  }
});
