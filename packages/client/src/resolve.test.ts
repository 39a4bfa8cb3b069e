import { formatTransportAddress } from "@turnpike/stun";
import { describe, expect, it } from "vitest";
import { MAXIMUM_CANDIDATES, resolveUri, type ResolveOptions } from "./resolve.ts";
import type { NaptrRecord, Resolver, SrvRecord } from "./resolver.ts";
import { parseUri } from "./uri.ts";

interface Zone {
  readonly addresses?: Readonly<Record<string, readonly string[]>>;
  readonly srv?: Readonly<Record<string, readonly SrvRecord[]>>;
  readonly naptr?: Readonly<Record<string, readonly NaptrRecord[]>>;
}

/** DNS as a table, which counts what it is asked. */
function zone(records: Zone): Resolver & { readonly questions: string[] } {
  const questions: string[] = [];
  const answer = <T>(kind: string, table: Readonly<Record<string, readonly T[]>> = {}, name: string): readonly T[] => {
    questions.push(`${kind} ${name}`);
    return table[name] ?? [];
  };
  return {
    questions,
    addresses: async (name) => answer("A", records.addresses, name),
    srv: async (name) => answer("SRV", records.srv, name),
    naptr: async (name) => answer("NAPTR", records.naptr, name),
  };
}

const naptr = (order: number, flags: string, service: string, replacement: string): NaptrRecord => {
  return { order, preference: 10, flags, service, regexp: "", replacement };
};
const srv = (port: number, name: string, priority = 0, weight = 0): SrvRecord => ({ priority, weight, port, name });

async function resolved(uri: string, resolver: Resolver, options: ResolveOptions = {}): Promise<string[]> {
  const candidates = await resolveUri(parseUri(uri), { resolver, random: () => 0, ...options });
  return candidates.map(({ transport, address }) => `${transport} ${formatTransportAddress(address)}`);
}

/** RFC 5928 §4.1, Figure 1. */
const FIGURE_1: Zone = {
  naptr: {
    "example.net": [
      naptr(100, "", "RELAY:turn.udp", "datagram.example.net"),
      naptr(200, "", "RELAY:turn.tcp:turn.tls", "stream.example.net"),
    ],
    "datagram.example.net": [naptr(100, "S", "RELAY:turn.udp", "_turn._udp.example.net")],
    "stream.example.net": [
      naptr(100, "S", "RELAY:turn.tcp", "_turn._tcp.example.net"),
      naptr(200, "A", "RELAY:turn.tls", "a.example.net"),
    ],
  },
  srv: {
    "_turn._udp.example.net": [srv(3478, "a.example.net")],
    "_turn._tcp.example.net": [srv(5000, "a.example.net")],
  },
  addresses: { "a.example.net": ["192.0.2.1"] },
};

describe("resolveUri (RFC 5928 §3)", () => {
  it("step 1: an address and its default ports", async () => {
    const nothing = zone({});
    expect(await resolved("turn:192.0.2.1", nothing)).toEqual(["udp 192.0.2.1:3478", "tcp 192.0.2.1:3478"]);
    expect(await resolved("turns:[2001:db8::1]", nothing)).toEqual(["tls [2001:db8::1]:5349"]);
    expect(await resolved("turn:192.0.2.1:99?transport=tcp", nothing)).toEqual(["tcp 192.0.2.1:99"]);
    expect(await resolved("turns:192.0.2.1?transport=udp", nothing)).toEqual(["dtls 192.0.2.1:5349"]);
    expect(await resolved("turns:192.0.2.1?transport=ws", nothing)).toEqual(["wss 192.0.2.1:5349"]);
    expect(nothing.questions).toEqual([]);
  });

  it("step 2: a port needs addresses only", async () => {
    const resolver = zone({ addresses: { "example.net": ["192.0.2.1", "2001:db8::1"] } });
    expect(await resolved("turn:example.net:7000?transport=udp", resolver)).toEqual([
      "udp 192.0.2.1:7000",
      "udp [2001:db8::1]:7000",
    ]);
    expect(resolver.questions).toEqual(["A example.net"]);
    expect(await resolved("turn:example.net:7000?transport=udp", resolver, { families: [6] })).toEqual([
      "udp [2001:db8::1]:7000",
    ]);
  });

  it("step 3: SRV by priority, else the host itself at the default port", async () => {
    const records = [srv(2, "b", 20), srv(1, "a", 10)];
    const addresses = { a: ["192.0.2.1"], b: ["192.0.2.2"], "plain.net": ["192.0.2.3"] };
    const resolver = zone({ srv: { "_turns._tcp.example.net": records }, addresses });
    expect(await resolved("turns:example.net?transport=tcp", resolver)).toEqual(["tls 192.0.2.1:1", "tls 192.0.2.2:2"]);
    expect(await resolved("turn:plain.net?transport=udp", resolver)).toEqual(["udp 192.0.2.3:3478"]);
  });

  it('step 3: a target of "." means that there is no such service (RFC 2782)', async () => {
    const resolver = zone({
      srv: { "_turn._udp.example.net": [srv(0, ".")] },
      addresses: { "example.net": ["192.0.2.1"] },
    });
    await expect(resolved("turn:example.net?transport=udp", resolver)).rejects.toMatchObject({ code: "notResolved" });
  });

  it("step 4: Table 2 of RFC 5928, by the preferences TLS, TCP, UDP", async () => {
    expect(await resolved("turn:example.net", zone(FIGURE_1), { transports: ["tls", "tcp", "udp"] })).toEqual([
      "udp 192.0.2.1:3478",
      "tls 192.0.2.1:5349",
      "tcp 192.0.2.1:5000",
    ]);
    expect(await resolved("turns:example.net", zone(FIGURE_1))).toEqual(["tls 192.0.2.1:5349"]);
  });

  it("step 4: records of one ranking are tried by the application's preference", async () => {
    const records = [
      naptr(100, "A", "RELAY:turn.tcp", "a.example.net"),
      naptr(100, "A", "RELAY:turn.udp", "a.example.net"),
      naptr(90, "A", "RELAY:turn.tls", "a.example.net"),
    ];
    const resolver = zone({ naptr: { "example.net": records }, addresses: FIGURE_1.addresses! });
    expect(await resolved("turn:example.net", resolver, { transports: ["udp", "tls", "tcp"] })).toEqual([
      "tls 192.0.2.1:5349",
      "udp 192.0.2.1:3478",
      "tcp 192.0.2.1:3478",
    ]);
  });

  it("a record with a regular expression, or of another service, is none of ours (RFC 3958)", async () => {
    const records = [
      { ...naptr(1, "A", "RELAY:turn.udp", "a.example.net"), regexp: "!.*!turn:b.example.net!" },
      naptr(2, "A", "SIP+D2U", "a.example.net"),
      naptr(3, "A", "RELAY:turn.tcp", "a.example.net"),
      naptr(4, "U", "RELAY:turn.udp", "a.example.net"),
    ];
    const resolver = zone({ naptr: { "example.net": records }, addresses: FIGURE_1.addresses! });
    expect(await resolved("turn:example.net", resolver)).toEqual(["tcp 192.0.2.1:3478"]);
  });

  it("a secure URI never leads to UDP or TCP, whatever the application prefers", async () => {
    const all = ["udp", "tcp", "tls", "dtls"] as const;
    const records = { ...FIGURE_1.naptr, "example.com": [naptr(1, "A", "RELAY:turn.dtls:turn.udp", "a.example.net")] };
    const resolver = zone({ ...FIGURE_1, naptr: records });
    expect(await resolved("turns:example.net", resolver, { transports: all })).toEqual(["tls 192.0.2.1:5349"]);
    expect(await resolved("turns:example.com", resolver, { transports: all })).toEqual(["dtls 192.0.2.1:5349"]);
    expect(await resolved("turns:192.0.2.1", resolver, { transports: all })).toEqual([
      "tls 192.0.2.1:5349",
      "dtls 192.0.2.1:5349",
    ]);
    await expect(resolved("turns:192.0.2.1", resolver, { transports: ["udp"] })).rejects.toThrow(
      "Cannot resolve turns:192.0.2.1: it needs TLS or DTLS, and udp may be used",
    );
  });

  it("step 4: remote hosting (Figure 2)", async () => {
    const hosted = {
      ...FIGURE_1.naptr,
      "example.com": [naptr(100, "", "RELAY:turn.udp:turn.tcp:turn.tls", "example.net")],
    };
    expect(await resolved("turn:example.com", zone({ ...FIGURE_1, naptr: hosted }))).toEqual([
      "udp 192.0.2.1:3478",
      "tcp 192.0.2.1:5000",
    ]);
  });

  it("step 5: without NAPTR each transport's SRV", async () => {
    const resolver = zone({ srv: FIGURE_1.srv!, addresses: FIGURE_1.addresses! });
    expect(await resolved("turn:example.net", resolver)).toEqual(["udp 192.0.2.1:3478", "tcp 192.0.2.1:5000"]);
    expect(resolver.questions[0]).toBe("NAPTR example.net");
  });

  it("RFC 8489 §8.1: the stun service has SRV and no NAPTR", async () => {
    const resolver = zone({ srv: { "_stun._udp.example.net": [srv(3479, "a")] }, addresses: { a: ["192.0.2.1"] } });
    const [first] = await resolved("stun:example.net", resolver);
    expect(first).toBe("udp 192.0.2.1:3479");
    expect(resolver.questions.some((question) => question.startsWith("NAPTR"))).toBe(false);
  });

  it("weights decide among records of one priority", async () => {
    const records = [srv(1, "a", 0, 1), srv(2, "a", 0, 99), srv(3, "a", 0, 0)];
    const resolver = zone({ srv: { "_turn._udp.x.net": records }, addresses: { a: ["192.0.2.1"] } });
    const ports = async (random: number): Promise<string[]> =>
      (await resolved("turn:x.net?transport=udp", resolver, { random: () => random })).map(
        (text) => text.split(":")[1]!,
      );
    expect(await ports(0)).toEqual(["3", "1", "2"]);
    expect((await ports(0.5))[0]).toBe("2");
    expect((await ports(0.999))[0]).toBe("2");
  });

  it("records in a circle, and more records than anybody needs, are bounded", async () => {
    const circle = zone({ naptr: { "a.net": [naptr(1, "", "RELAY:turn.udp", "a.net")] } });
    await expect(resolved("turn:a.net", circle)).rejects.toMatchObject({ code: "notResolved" });
    expect(circle.questions.length).toBeLessThan(25);
    const many = Array.from({ length: 500 }, (_, i) => srv(1000 + i, `host${i}`));
    const addresses = Object.fromEntries(many.map(({ name }, i) => [name, [`192.0.${i >> 8}.${i & 255}`]]));
    const flood = zone({ srv: { "_turn._udp.a.net": many }, addresses });
    expect((await resolved("turn:a.net?transport=udp", flood)).length).toBe(MAXIMUM_CANDIDATES);
    expect(flood.questions.length).toBeLessThan(25);
  });

  it("what DNS fails at counts as nothing; nothing at all is an error that names the URI", async () => {
    const broken: Resolver = {
      addresses: async (name) => (name === "a.net" ? ["192.0.2.1", "not an address"] : []),
      srv: async () => Promise.reject(new Error("SERVFAIL")),
      naptr: async () => Promise.reject(new Error("SERVFAIL")),
    };
    expect(await resolved("turn:a.net", broken)).toEqual(["udp 192.0.2.1:3478", "tcp 192.0.2.1:3478"]);
    await expect(resolved("turn:b.net", broken)).rejects.toThrow("Cannot resolve turn:b.net: no address was found");
  });

  it("an abort ends it, even while DNS is silent", async () => {
    const silent: Resolver = {
      addresses: () => new Promise(() => undefined),
      srv: () => new Promise(() => undefined),
      naptr: () => new Promise(() => undefined),
    };
    const controller = new AbortController();
    const resolving = resolved("turn:a.net", silent, { signal: controller.signal });
    controller.abort(new Error("enough"));
    await expect(resolving).rejects.toThrow("enough");
    await expect(resolved("turn:a.net", silent, { signal: controller.signal })).rejects.toThrow("enough");
  });
});
