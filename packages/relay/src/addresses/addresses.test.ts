import { formatIpAddress, type IpAddress, parseIpAddress } from "@turnpike/stun";
import { describe, expect, test } from "vitest";
import { RecordingLogger } from "../testing/recording-logger.ts";
import { findRelayAddresses } from "./find-addresses.ts";
import { expandWildcard, formatListenSpec, isWildcard, parseListenSpec, transportsOf } from "./listen.ts";
import { chooseRelayAddresses, findRoutedAddresses, listLocalAddresses } from "./local-addresses.ts";
import { joinRelayAddresses, parseExternalAddress } from "./relay-address.ts";

const ips = (...texts: string[]): IpAddress[] => texts.flatMap((text) => parseIpAddress(text) ?? []);
const texts = (addresses: readonly IpAddress[]): string[] => addresses.map(formatIpAddress);
const isGlobal = (ip: IpAddress): boolean => /^(8\.|9\.|2600:)/.test(formatIpAddress(ip));
const machine = (...addresses: string[]) =>
  listLocalAddresses({
    isGlobal,
    interfaces: {
      lo: [
        { address: "127.0.0.1", internal: true },
        { address: "::1", internal: true },
      ],
      none: undefined,
      eth0: addresses.map((address) => ({ address, internal: false })),
    },
  });

describe("external addresses", () => {
  test("are PUBLIC or PUBLIC/PRIVATE", () => {
    expect(texts([parseExternalAddress("203.0.113.5").public])).toEqual(["203.0.113.5"]);
    const both = parseExternalAddress("2001:db8::1/fd00::1");
    expect(texts([both.public, ...(both.private ? [both.private] : [])])).toEqual(["2001:db8::1", "fd00::1"]);
  });

  test.each(["", "/", "a", "203.0.113.5/", "203.0.113.5/10.0.0.1/10.0.0.2", "203.0.113.5:80", "203.0.113.5/fd00::1"])(
    "%j is none",
    (text) => {
      expect(() => parseExternalAddress(text)).toThrow(TypeError);
    },
  );

  test.each([
    ["203.0.113.5/10.0.0.9", /10\.0\.0\.9 is not a relay address/],
    ["203.0.113.5", /2 IPv4 relay addresses; name the one it belongs to as 203\.0\.113\.5\/PRIVATE/],
  ])("%s must fit one relay address", (text, message) => {
    expect(() => joinRelayAddresses(ips("10.0.0.1", "10.0.0.2"), [parseExternalAddress(text)])).toThrow(message);
  });

  test("are not given twice, nor without a relay address of the family", () => {
    const external = [parseExternalAddress("203.0.113.5/10.0.0.1")];
    const join = (locals: string[], ...more: string[]) =>
      joinRelayAddresses(ips(...locals), [...external, ...more.map(parseExternalAddress)]);
    expect(() => join(["10.0.0.1"], "203.0.113.6/10.0.0.1")).toThrow("10.0.0.1 two external addresses");
    expect(() => join(["10.0.0.1", "10.0.0.2"], "203.0.113.5/10.0.0.2")).toThrow("203.0.113.5 twice");
    expect(() => join(["10.0.0.1"], "2001:db8::1")).toThrow("there is no IPv6 relay address");
    expect(() => join(["10.0.0.1", "10.0.0.1"])).toThrow("10.0.0.1 twice");
  });

  test("without a private half belong to the one relay address of the family", () => {
    const joined = joinRelayAddresses(ips("10.0.0.1", "fd00::1"), [parseExternalAddress("203.0.113.5")]);
    expect(joined.map(({ local, relayed }) => texts([local, relayed]))).toEqual([
      ["10.0.0.1", "203.0.113.5"],
      ["fd00::1", "fd00::1"],
    ]);
  });
});

describe("relay addresses found by themselves", () => {
  test.each([
    ["a global address before a private one", ["10.0.0.1", "8.0.0.1"], [], ["8.0.0.1"], "global"],
    ["of equals the routed one", ["172.17.0.1", "10.0.0.1"], ["10.0.0.1"], ["10.0.0.1"], "private"],
    ["of equals the first if none is routed", ["172.17.0.1", "10.0.0.1"], [], ["172.17.0.1"], "private"],
    ["global even if the route is private", ["10.0.0.1", "8.0.0.1"], ["10.0.0.1"], ["8.0.0.1"], "global"],
    ["one of each family", ["fd00::1", "10.0.0.1", "2600::1"], ["fd00::1"], ["10.0.0.1", "2600::1"], "global"],
    ["no link-local one, and no loopback beside others", ["fe80::1", "10.0.0.1"], [], ["10.0.0.1"], "private"],
    ["loopback if there is nothing else", ["fe80::1"], ["192.0.2.7"], ["127.0.0.1", "::1"], "loopback"],
  ])("%s", (_what, addresses, routed, expected, scope) => {
    const chosen = chooseRelayAddresses(machine(...addresses), ips(...routed));
    expect([texts(chosen.addresses), chosen.scope]).toEqual([expected, scope]);
  });

  test("a machine without addresses has none", () => {
    expect(chooseRelayAddresses([], [])).toEqual({ addresses: [], scope: undefined });
  });

  test("routed addresses are addresses of this machine", async () => {
    const own = texts(listLocalAddresses({ isGlobal }).map(({ ip }) => ip));
    expect(texts(await findRoutedAddresses()).filter((text) => !own.includes(text))).toEqual([]);
  });
});

describe("listening addresses", () => {
  test.each(["udp:0.0.0.0:3478", "tcp:[::]:3478", "tls:192.0.2.1:0", "dtls:[2001:db8::1]:5349", "ws:0.0.0.0:80"])(
    "%s is read and written",
    (text) => {
      expect(formatListenSpec(parseListenSpec(text))).toBe(text);
    },
  );

  test.each(["udp:", "udp:3478", "udp:::3478", "udp:0.0.0.0:65536", "udp:host:3478"])(
    "%j is refused with the form to use",
    (text) => {
      expect(() => parseListenSpec(text)).toThrow(/Cannot listen on .*expected udp:ADDRESS:PORT/);
    },
  );

  test.each(["", "udp", "sctp:0.0.0.0:3478", "0.0.0.0:3478"])("%j is refused with the transports there are", (text) => {
    expect(() => parseListenSpec(text)).toThrow("expected TRANSPORT:ADDRESS:PORT, with one of udp, tcp, tls, dtls, ws");
  });

  test("a tcp port serves WebSocket too, and TLS if there is a certificate", () => {
    expect(transportsOf("tcp", false)).toEqual(["tcp", "ws"]);
    expect(transportsOf("tcp", true)).toEqual(["tcp", "tls", "ws", "wss"]);
    expect(transportsOf("tls", true)).toEqual(["tls", "wss"]);
    expect(transportsOf("wss", true)).toEqual(["wss"]);
  });

  test("a wildcard stands for the machine's addresses of its family that need no zone", () => {
    const all = machine("10.0.0.1", "fe80::1", "fd00::1");
    const expand = (text: string) => texts(expandWildcard(parseListenSpec(text).local, all));
    expect(expand("udp:0.0.0.0:1")).toEqual(["127.0.0.1", "10.0.0.1"]);
    expect(expand("udp:[::]:1")).toEqual(["::1", "fd00::1"]);
    expect(expand("udp:192.0.2.1:1")).toEqual(["192.0.2.1"]);
    expect(ips("0.0.0.0", "::", "0.0.0.1", "::1", "::ffff:0.0.0.0").map(isWildcard)).toEqual([
      true,
      true,
      false,
      false,
      false,
    ]);
  });
});

describe("relay addresses that are found", () => {
  const found = async (externalAddresses: readonly string[]): Promise<RecordingLogger> => {
    const logger = new RecordingLogger();
    await findRelayAddresses({
      relayAddresses: [],
      externalAddresses,
      machine: machine("10.0.0.5", "fd00::5"),
      logger,
    });
    return logger;
  };

  test("a machine with private ones is warned of, unless an external address is named", async () => {
    expect((await found([])).messages("warn")).toEqual([expect.stringContaining("name its address as an external")]);
    const named = await found(["203.0.113.5"]);
    expect(named.messages("warn")).toEqual([]);
    expect(named.messages("info")).toEqual(["Found private relay addresses behind the external ones"]);
  });
});
