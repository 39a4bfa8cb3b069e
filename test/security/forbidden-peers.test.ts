import {
  attribute,
  channelNumber,
  data,
  parseIpAddress,
  requestedAddressFamily,
  requestedTransport,
  transportAddress,
  xorPeerAddress,
  type IpAddress,
} from "@turnpike/stun";
import { createPeerPolicy } from "@turnpike/turn";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EngineHarness, TCP_LISTENER, UDP6_LISTENER } from "../sim/support/engine-harness.ts";
import { outcomeOf, StunClient } from "../sim/support/stun-client.ts";

const UDP = attribute(requestedTransport, 17);
const CLIENT = transportAddress("198.51.100.7", 40_000);

/** Every IPv4 range that must not be reached by default, by its first and last address. */
const FORBIDDEN_IPV4 = [
  ["0.0.0.0", "0.255.255.255"],
  ["10.0.0.0", "10.255.255.255"],
  ["100.64.0.0", "100.127.255.255"],
  ["127.0.0.0", "127.255.255.255"],
  ["168.63.129.16", "168.63.129.16"],
  ["169.254.0.0", "169.254.169.254"],
  ["172.16.0.0", "172.31.255.255"],
  ["192.0.0.0", "192.0.0.192"],
  ["192.0.2.0", "192.0.2.255"],
  ["192.88.99.0", "192.88.99.255"],
  ["192.168.0.0", "192.168.255.255"],
  ["198.18.0.0", "198.19.255.255"],
  ["198.51.100.0", "198.51.100.255"],
  ["203.0.113.0", "203.0.113.255"],
  ["224.0.0.1", "239.255.255.255"],
  ["240.0.0.0", "255.255.255.255"],
].flat();

const FORBIDDEN_IPV6 = [
  "::",
  "::1",
  "::a00:1",
  "fe80::1",
  "fec0::1",
  "fc00::1",
  "fd00:ec2::254",
  "ff02::1",
  "100::1",
  "64:ff9b:1::8.8.8.8",
  "2001::1",
  "2001:db8::1",
  "2002:808:808::1",
  "3fff::1",
  "4000::1",
];

/** The forms in which an IPv6 address can stand for an IPv4 one. */
const WRAPPINGS: readonly ((ipv4: string) => string)[] = [
  (ipv4) => `::ffff:${ipv4}`,
  (ipv4) => `::${ipv4}`,
  (ipv4) => `64:ff9b::${ipv4}`,
  (ipv4) => `64:ff9b:1::${ipv4}`,
  (ipv4) => `2002:${hex(ipv4)}::1`,
  (ipv4) => `2001:0:${hex(ipv4)}::1`,
  (ipv4) => `2607:f8b0::5efe:${ipv4}`,
  (ipv4) => `2607:f8b0::200:5efe:${ipv4}`,
];

function hex(ipv4: string): string {
  const [a, b, c, d] = ipv4.split(".").map(Number);
  return `${((a! << 8) | b!).toString(16)}:${((c! << 8) | d!).toString(16)}`;
}

function ip(text: string): IpAddress {
  const parsed = parseIpAddress(text);
  if (parsed === undefined) throw new Error(`bad test address ${text}`);
  return parsed;
}

const reachable = (policy: ReturnType<typeof createPeerPolicy>, text: string): boolean =>
  ["allowed", "global"].includes(policy.decide(ip(text)));

describe("security case 1, 2: what isn't globally routable", () => {
  const policy = createPeerPolicy();

  test.each(FORBIDDEN_IPV4)("IPv4 %s is denied by default", (text) => {
    expect(reachable(policy, text)).toBe(false);
  });

  test.each(FORBIDDEN_IPV6)("IPv6 %s is denied by default", (text) => {
    expect(reachable(policy, text)).toBe(false);
  });

  test("every IPv6 form of every denied IPv4 address is denied", () => {
    for (const ipv4 of FORBIDDEN_IPV4) {
      for (const wrap of WRAPPINGS) expect(`${wrap(ipv4)} ${reachable(policy, wrap(ipv4))}`).toContain("false");
    }
  });

  test.each(["8.8.8.8", "1.1.1.1", "2606:4700::1111", "2a00:1450:4001::1", "64:ff9b::8.8.8.8"])(
    "%s is reachable",
    (text) => {
      expect(reachable(policy, text)).toBe(true);
    },
  );

  test("allowing an IPv4 range doesn't allow its IPv4-mapped form", () => {
    const open = createPeerPolicy({ allow: ["127.0.0.0/8", "::/0"] });
    expect(reachable(open, "127.0.0.1")).toBe(true);
    expect(reachable(open, "::ffff:127.0.0.1")).toBe(false);
  });

  test("denying an IPv4 range denies its NAT64 and ISATAP forms", () => {
    const closed = createPeerPolicy({ deny: ["9.9.9.0/24"] });
    expect(reachable(closed, "64:ff9b::9.9.9.9")).toBe(false);
    expect(reachable(closed, "2607:f8b0::5efe:9.9.9.9")).toBe(false);
    expect(reachable(closed, "64:ff9b::9.9.8.9")).toBe(true);
  });
});

describe("security case 3: ranges are numbers, and a malformed one stops the start", () => {
  test("a range contains exactly what lies between its ends", () => {
    const word = fc.integer({ min: -0x80000000, max: 0x7fffffff });
    const address = fc.record({ w0: word, w1: word, w2: word, w3: word });
    const number = (a: { w0: number; w1: number; w2: number; w3: number }): bigint =>
      [a.w0, a.w1, a.w2, a.w3].reduce((sum, part) => (sum << 32n) | BigInt(part >>> 0), 0n);
    const text = (a: { w0: number; w1: number; w2: number; w3: number }): string =>
      [a.w0, a.w1, a.w2, a.w3].map((part) => `${(part >>> 16).toString(16)}:${(part & 0xffff).toString(16)}`).join(":");
    fc.assert(
      fc.property(address, address, address, (a, b, probe) => {
        const [first, last] = number(a) <= number(b) ? [a, b] : [b, a];
        const policy = createPeerPolicy({ deny: [`${text(first)}-${text(last)}`] });
        const inside = number(first) <= number(probe) && number(probe) <= number(last);
        const mapped = probe.w0 === 0 && probe.w1 === 0 && probe.w2 === 0xffff;
        expect(policy.decide({ family: 6, ...probe }) === "denied" && !mapped).toBe(inside && !mapped);
      }),
    );
  });

  test.each([
    "10.0.0.0/33",
    "10.0.0.0/-1",
    "10.0.0.0/",
    "10.0.0.0/8x",
    "10.0.0",
    "10.0.0.256",
    "1.2.3.4-",
    "1.2.3.4-::1",
    "2.0.0.0-1.0.0.0",
    "::/129",
    "",
    "localhost",
  ])("%j throws instead of being skipped", (range) => {
    expect(() => createPeerPolicy({ deny: [range] })).toThrow(TypeError);
  });
});

/** An allocation of both families by a client of the harness. */
function allocated(family: 4 | 6, tcp = false): { harness: EngineHarness; request: Request } {
  const harness = new EngineHarness({ tcpRelay: true });
  const client = new StunClient({ username: "alice", password: "wonderland" }, harness.random);
  const listener = tcp ? TCP_LISTENER : UDP6_LISTENER;
  const wanted = [attribute(requestedTransport, tcp ? 6 : 17), attribute(requestedAddressFamily, family)];
  harness.fromClient(CLIENT, client.plain("allocate", wanted), listener);
  client.learn(harness.answer());
  harness.fromClient(CLIENT, client.signed("allocate", wanted), listener);
  expect(outcomeOf(harness.answer())).toBe("success");
  const request: Request = (method, attributes) => {
    harness.fromClient(CLIENT, client.signed(method, attributes), listener);
    return outcomeOf(harness.answer());
  };
  return { harness, request };
}

type Request = (
  method: "createPermission" | "channelBind" | "connect",
  attributes: Parameters<StunClient["signed"]>[1],
) => "success" | number;

describe("security case 2, 4: the policy holds for every way to a peer", () => {
  const targets = [
    ...["0.0.0.0", "127.0.0.1", "10.0.0.1", "169.254.169.254", "255.255.255.255"].map((text) => [4, text] as const),
    ...["::1", "::ffff:127.0.0.1", "fd00::1", "64:ff9b::10.0.0.1"].map((text) => [6, text] as const),
  ];

  test.each(targets)("IPv%d %s gets 403 by CreatePermission and ChannelBind, and no Send", (family, text) => {
    const { harness, request } = allocated(family);
    const peer = attribute(xorPeerAddress, transportAddress(text, 80));
    expect(request("createPermission", [peer])).toBe(403);
    expect(request("channelBind", [attribute(channelNumber, 0x4000), peer])).toBe(403);
    const client = new StunClient({ username: "alice", password: "wonderland" }, harness.random);
    const send = client.indication("send", [peer, attribute(data, Uint8Array.of(1))]);
    expect(harness.fromClient(CLIENT, send, UDP6_LISTENER)).toBeUndefined();
    expect(harness.fromPeer(0, transportAddress(text, 80), Uint8Array.of(1))).toBeUndefined();
  });

  test.each(targets)("IPv%d %s gets 403 by Connect", (family, text) => {
    const { request } = allocated(family, true);
    expect(request("connect", [attribute(xorPeerAddress, transportAddress(text, 80))])).toBe(403);
  });

  test("incoming TCP from a peer without permission is closed at once", () => {
    const { harness } = allocated(4, true);
    harness.server.handlePeerConnection(0, transportAddress("8.8.8.8", 9), 5, harness.clock);
    harness.drain();
    expect(harness.take()).toEqual([{ kind: "closePeerConnection", peerConnection: 5 }]);
  });
});

describe("the relay's own addresses", () => {
  test("only live relayed transport addresses are reachable there, not the relay's other ports", () => {
    const harness = new EngineHarness();
    const begin = (port: number): ((...rest: Parameters<Request>) => "success" | number) => {
      const client = new StunClient({ username: "alice", password: "wonderland" }, harness.random);
      const address = transportAddress("198.51.100.7", port);
      harness.fromClient(address, client.plain("allocate", [UDP]));
      client.learn(harness.answer());
      harness.fromClient(address, client.signed("allocate", [UDP]));
      harness.take();
      return (method, attributes) => {
        harness.fromClient(address, client.signed(method, attributes));
        return outcomeOf(harness.answer());
      };
    };
    const first = begin(1001);
    begin(1002);
    const [mine, theirs] = [...harness.sockets.values()].map((socket) => socket.relayed);
    expect(first("createPermission", [attribute(xorPeerAddress, theirs!)])).toBe("success");
    const client = new StunClient({ username: "alice", password: "wonderland" }, harness.random);
    const send = (port: number): unknown =>
      harness.fromClient(
        transportAddress("198.51.100.7", 1001),
        client.indication("send", [attribute(xorPeerAddress, { ...theirs!, port }), attribute(data, Uint8Array.of(1))]),
      );
    expect(send(theirs!.port)).toMatchObject({ verdict: "toPeer" });
    expect(send(3478)).toBeUndefined();
    expect(send(22)).toBeUndefined();
    expect(harness.fromPeer(0, { ...theirs!, port: 22 }, Uint8Array.of(1))).toBeUndefined();
    expect(harness.fromPeer(0, theirs!, Uint8Array.of(1))).toMatchObject({ verdict: "toClient" });
    expect(mine?.port).not.toBe(theirs?.port);
  });

  test("loopback stays denied even if the relay itself is on it", () => {
    const harness = new EngineHarness({
      hairpin: {
        isOwn: (own) => own.w3 >>> 24 === 127,
        isLive: () => true,
        toLocal: () => false,
        toRelayed: () => false,
      },
    });
    const client = new StunClient({ username: "alice", password: "wonderland" }, harness.random);
    harness.fromClient(CLIENT, client.plain("allocate", [UDP]));
    client.learn(harness.answer());
    harness.fromClient(CLIENT, client.signed("allocate", [UDP]));
    harness.take();
    harness.fromClient(
      CLIENT,
      client.signed("createPermission", [attribute(xorPeerAddress, transportAddress("127.0.0.1", 1))]),
    );
    expect(outcomeOf(harness.answer())).toBe(403);
  });
});
