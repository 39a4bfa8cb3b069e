import { describe, expect, it } from "vitest";
import { answerSocks, FakeNetwork, settle, streamPair } from "../test/fakes.ts";
import { Connector, checkReveal, ConnectError, createGate, RevealError } from "./index.ts";

const onion = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion";
const hidden = { revealIpAddress: false, hints: { tcp: "tor" } } as const;
const item = (value: string, key = "k") => ({ key, value });

describe("the check before the start", () => {
  it("finds nothing where nothing is to be hidden", () => {
    expect(checkReveal({ revealIpAddress: true, hints: { tcp: "tcp", listen: ["tcp:0"] } })).toEqual([]);
  });

  it("finds nothing in a configuration that goes through Tor alone", () => {
    expect(
      checkReveal({
        revealIpAddress: false,
        hints: { tcp: "tor", listen: ["onion:80", "unix:/run/x", "tcp:127.0.0.1:0"], advertise: [`tor:${onion}:80`] },
        torTargets: [item("127.0.0.1:9050"), item("unix:/run/tor/socks"), item("10.0.0.2:9050")],
        connectTo: [item(`tor:${onion}:80`), item("tcp:relay.example.org:443"), item("relay.example.org:443")],
        urls: [item("http://127.0.0.1:4317"), item("http://localhost:4317/x")],
        binds: [item("127.0.0.1:9641"), item("[::1]:8081"), item("unix:/run/y")],
        published: [item(`http://${onion}/`)],
      }),
    ).toEqual([]);
  });

  it("finds everything else, all at once, with its key", () => {
    const findings = checkReveal({
      revealIpAddress: false,
      hints: {
        tcp: "tcp",
        overrides: [{ target: "a.example", route: "tcp" }],
        socksProxy: true,
        listen: ["tcp:0", "tcp:0.0.0.0:1", "wss:192.0.2.1:443/x", "udp:[::]:3478"],
        advertise: "AUTO",
      },
      torTargets: [item("tor.example.org:9050", "hints.tor.socks"), item("8.8.8.8:9051", "hints.tor.control")],
      connectTo: [
        item("tcp:relay.example.org:443", "portal.url"),
        item("relay.example.org:443", "portal.url"),
        item("turn:relay.example.org:443", "x"),
        item("nonsense", "x"),
      ],
      urls: [item("https://user:secret@otlp.example.org/v1", "telemetry.otlp_endpoint"), item("::", "u")],
      binds: [item("0.0.0.0:9641", "telemetry.metrics"), item("9641", "b")],
      published: [
        item("192.0.2.7", "relay.external_addresses"),
        item("https://portal.example.org", "portal.public_url"),
      ],
    });
    expect(findings.map(({ key, value }) => `${key}=${value}`)).toEqual([
      "hints.tcp=tcp",
      "hints.overrides=a.example",
      "hints.socks=set",
      "hints.listen=tcp:0",
      "hints.listen=tcp:0.0.0.0:1",
      "hints.listen=wss:192.0.2.1:443/x",
      "hints.listen=udp:[::]:3478",
      "hints.advertise=AUTO",
      "hints.tor.socks=tor.example.org:9050",
      "hints.tor.control=8.8.8.8:9051",
      "portal.url=tcp:relay.example.org:443",
      "portal.url=relay.example.org:443",
      "x=turn:relay.example.org:443",
      "x=nonsense",
      "telemetry.otlp_endpoint=https://otlp.example.org",
      "u=::",
      "telemetry.metrics=0.0.0.0:9641",
      "b=9641",
      "relay.external_addresses=192.0.2.7",
      "portal.public_url=https://portal.example.org",
    ]);
    expect(findings.find(({ value }) => value === "relay.example.org:443")?.problem).toContain("it means tcp:");
    const error = new RevealError(findings);
    expect(error.message).not.toContain("secret");
    expect(error.message.split("\n")).toHaveLength(findings.length + 1);
  });

  it("knows numeric advertisements and hints that an override sends directly", () => {
    const findings = checkReveal({
      ...hidden,
      hints: {
        tcp: "tor",
        overrides: [{ target: "b.example:1", route: "tcp" }],
        advertise: ["tcp:192.0.2.1:1", "192.0.2.1:1", `tcp:${onion}:1`, "tor:example.org:1"],
      },
      connectTo: [item("tls:b.example:1"), item("tls:b.example:2")],
    });
    expect(findings.map(({ value }) => value)).toEqual([
      "b.example:1",
      "tcp:192.0.2.1:1",
      "192.0.2.1:1",
      `tcp:${onion}:1`,
      "tor:example.org:1",
      "tls:b.example:1",
    ]);
  });

  it("is made by every connector", () => {
    const policy = { revealIpAddress: false };
    expect(() => new Connector({ policy })).toThrow(RevealError);
    expect(() => new Connector({ policy, tcp: "tor", overrides: [{ target: "x", route: "tcp" }] })).toThrow(
      RevealError,
    );
    const target = { kind: "tcp", address: "127.0.0.1", port: 1080 } as const;
    expect(() => new Connector({ policy, tcp: "tor", socksProxy: { target } })).toThrow(RevealError);
    const abroad = { kind: "tcp", address: "8.8.8.8", port: 9050 } as const;
    expect(() => new Connector({ policy, tcp: "tor", tor: { socks: abroad } })).toThrow("hints.tor.socks");
    expect(() => new Connector({ policy, tcp: "disabled" })).not.toThrow();
  });
});

describe("the gate", () => {
  const torTarget = { kind: "tcp", address: "127.0.0.1", port: 9050 } as const;
  const hostile = [
    "tcp:192.0.2.1:80",
    "tcp:8.8.8.8:80",
    "8.8.8.8:80",
    "tcp:example.org:80",
    "example.org:80",
    "tls:example.org:443",
    "ws:example.org:80/x",
    "wss:example.org:443/x",
    "tor:example.org:80",
    `tor:${onion}:80`,
    `tcp:${onion}:80`,
    "tor:127.0.0.1:80",
    "tor:localhost:80",
    "tor:10.0.0.1:80",
    "tcp:[2606:4700::1]:80",
    "tcp:127.0.0.1:22",
    "unix:/var/run/docker.sock",
    "socks:example.org:80",
    "rebound.example:80",
  ];

  it.each(["answers", "refuses", "is away"])("lets nothing out but to Tor's port, when Tor %s", async (how) => {
    const network = new FakeNetwork({
      names: () => ["127.0.0.1", "8.8.8.8"],
      answer() {
        if (how === "is away") return undefined;
        const [near, far] = streamPair();
        answerSocks(far, {
          reply: how === "refuses" ? 4 : 0,
          // A peer behind Tor that redirects, and one that hangs up.
          afterwards: (stream) => stream.end("HTTP/1.1 302 Found\r\nLocation: http://8.8.8.8/\r\n\r\n"),
        });
        return near;
      },
    });
    const connector = new Connector({
      policy: { revealIpAddress: false },
      tcp: "tor",
      tor: { socks: torTarget },
      dialer: network,
      resolver: network,
    });
    await Promise.all(
      hostile.map(async (hint) => {
        try {
          const { stream } = await connector.connect({ hints: [hint] });
          stream.destroy();
        } catch (error) {
          expect(error).toBeInstanceOf(ConnectError);
        }
      }),
    );
    await settle();
    expect(new Set(network.dialled.map((target) => JSON.stringify(target)))).toEqual(
      new Set([JSON.stringify(torTarget)]),
    );
    expect(network.resolvedNames).toEqual([]);
    await connector.close();
  });

  it("holds for handlers that others wrote, and for policy that would allow more", async () => {
    const network = new FakeNetwork({ names: () => ["8.8.8.8"], answer: () => streamPair()[0] });
    const connector = new Connector({
      policy: { revealIpAddress: false, privateAddresses: "allowed", allow: ["0.0.0.0/0", "::/0"] },
      tcp: "disabled",
      dialer: network,
      resolver: network,
    });
    connector.addHintHandler("leaky", {
      toEndpoint: ({ network: way, signal }) => ({
        lane: "public",
        target: { host: "example.org", port: 80 },
        connect: () => way.dial({ kind: "tcp", address: "8.8.8.8", port: 80, spelledOut: true }, { signal }),
      }),
    });
    connector.addHintHandler("leaky2", {
      toEndpoint: ({ network: way, signal }) => ({
        lane: "public",
        connect: () => way.dial({ kind: "tcp", address: "8.8.8.8", port: 80, spelledOut: true }, { signal }),
      }),
    });
    await expect(connector.connect({ hints: ["leaky:1", "leaky2:1"] })).rejects.toMatchObject({
      errors: [{ code: "would-reveal-address" }, { code: "would-reveal-address" }, { code: "would-reveal-address" }],
    });
    expect([network.dialled, network.resolvedNames]).toEqual([[], []]);
  });

  it("lets Tor's client reach Tor's ports only, and no other proxy at all", async () => {
    const network = new FakeNetwork({ answer: () => streamPair()[0] });
    const { signal } = new AbortController();
    const gate = createGate({ policy: { revealIpAddress: false }, dialer: network, resolver: network });
    const remote = { kind: "tcp", address: "10.0.0.2", port: 9050 } as const;
    await expect(gate.configured("tor", []).dial(remote, { signal })).rejects.toMatchObject({
      code: "address-refused",
    });
    await gate.configured("tor", [remote]).dial(remote, { signal });
    await gate.configured("tor", []).dial({ kind: "unix", path: "/run/tor" }, { signal });
    await expect(gate.configured("proxy", [remote]).dial(remote, { signal })).rejects.toMatchObject({
      code: "would-reveal-address",
    });
    expect(network.dialled).toHaveLength(2);
  });
});
