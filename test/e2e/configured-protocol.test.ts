/** The keys of the configuration that turn parts of the protocol on and off, as the command wires them. */
import { once } from "node:events";
import { connect } from "node:net";
import type { Relay } from "@turnpike/relay";
import {
  attribute,
  channelNumber,
  getAttribute,
  mobilityTicket,
  otherAddress,
  type TransportAddress,
  transportAddress,
  xorMappedAddress,
  xorPeerAddress,
} from "@turnpike/stun";
import type { ClientTransport } from "@turnpike/turn";
import { loadConfiguration } from "turnpike";
import { expect, test } from "vitest";
import { readCredentials } from "../../packages/turnpike/src/config/credentials.ts";
import { createLogger } from "../../packages/turnpike/src/log.ts";
import { startConfiguredRelay } from "../../packages/turnpike/src/wiring/start-relay.ts";
import { outcomeOf } from "../sim/support/stun-client.ts";
import { freePorts } from "../support/free-ports.ts";
import { LinkTurnClient } from "../support/link-turn-client.ts";
import { ALICE, keep, openClient } from "../support/relay.ts";
import { UdpTurnClient } from "../support/udp-turn-client.ts";

const PEER = attribute(xorPeerAddress, transportAddress("127.0.0.1", 9));
const TICKET = attribute(mobilityTicket, new Uint8Array());
const OLD_CHANNEL = attribute(channelNumber, 0x5000);

/** `keys` follow `[relay]`. */
async function start(keys: string): Promise<Relay> {
  const text = `
[peers]
allow = ["127.0.0.0/8"]
[[turn.user]]
name = "${ALICE.username}"
password = "${ALICE.password}"
[relay]
relay_addresses = ["127.0.0.1"]
${keys}`;
  const loaded = loadConfiguration({ file: { name: "turnpike.toml", text }, environment: {}, flags: new Map() });
  const { relay } = await startConfiguredRelay({
    configuration: loaded.configuration,
    credentials: readCredentials(loaded, { readFile: () => "", reasonOf: String }),
    logger: createLogger({ level: "silent", format: "json", colors: false, write: () => {} }),
  });
  keep({
    async [Symbol.asyncDispose]() {
      await relay.stop();
      expect(relay.stats()).toMatchObject({ allocations: 0, relaySockets: 0, internalErrors: 0 });
    },
  });
  return relay;
}

function serverOf(relay: Relay, transport: ClientTransport): TransportAddress {
  const found = relay.listening.find((each) => each.transport === transport);
  if (found === undefined) throw new Error(`The relay does not listen on ${transport}`);
  return found.local;
}

test("by default there is mobility, and channels of RFC 5766, and no NAT behaviour discovery", async () => {
  const client = await openClient(await start(`listen = ["udp:127.0.0.1:0"]`));
  const answer = await client.allocateAnswer(TICKET);
  expect(getAttribute(answer, mobilityTicket)).toMatchObject({ ok: true });
  expect(outcomeOf(await client.request("channelBind", [OLD_CHANNEL, PEER]))).toBe("success");
  const discovered = await client.exchange(client.stun.plain("binding"));
  expect(getAttribute(discovered, otherAddress)).toBeUndefined();
});

test("mobility, TCP relaying and channels of RFC 5766 are turned off by their keys", async () => {
  const relay = await start(`
listen = ["udp:127.0.0.1:0", "tcp:127.0.0.1:0"]
mobility = false
tcp_relay = false
strict_channels = true`);
  const client = await openClient(relay);
  expect(await client.allocate(TICKET)).toBe(405);
  expect(await client.allocate()).toMatchObject({ family: 4 });
  expect(outcomeOf(await client.request("channelBind", [OLD_CHANNEL, PEER]))).toBe(400);
  const server = serverOf(relay, "tcp");
  const stream = keep(await LinkTurnClient.open({ transport: "tcp", server, ca: Buffer.alloc(0), credentials: ALICE }));
  expect(await stream.allocate("tcp")).toBe(442);
});

test("NAT behaviour discovery opens two ports on two addresses", async () => {
  const port = await freePorts(2);
  const relay = await start(`
listen = ["udp:127.0.0.1:0"]
[relay.nat_discovery]
addresses = ["127.0.0.1", "127.0.0.2"]
ports = [${port}, ${port + 1}]`);
  const client = keep(await UdpTurnClient.open(transportAddress("127.0.0.1", port), ALICE));
  const answer = await client.exchange(client.stun.plain("binding"));
  expect(getAttribute(answer, otherAddress)).toMatchObject({
    ok: true,
    value: transportAddress("127.0.0.2", port + 1),
  });
  expect(relay.listening).toHaveLength(5);
});

test("proxies are trusted, and connections limited, as configured", async () => {
  const relay = await start(`
listen = ["tcp:127.0.0.1:0"]
trusted_proxies = ["127.0.0.1"]
[streams]
max_connections = 1`);
  const server = serverOf(relay, "tcp");
  const preamble = Buffer.from("PROXY TCP4 198.51.100.7 192.0.2.1 4711 3478\r\n");
  const client = keep(
    await LinkTurnClient.open({ transport: "tcp", server, ca: Buffer.alloc(0), credentials: ALICE, preamble }),
  );
  const answer = await client.request("binding", []);
  expect(getAttribute(answer, xorMappedAddress)).toMatchObject({
    ok: true,
    value: transportAddress("198.51.100.7", 4711),
  });
  const second = connect({ host: "127.0.0.1", port: server.port });
  second.on("error", () => {});
  await once(second.resume(), "close");
  expect(relay.stats().streams).toMatchObject({ connections: 1, refused: 1 });
});
