import { startRelay, type Relay, type RelayOptions } from "@turnpike/relay";
import type { EncodedAttribute, TransportAddress } from "@turnpike/stun";
import { afterEach, expect } from "vitest";
import { staticUsers } from "../sim/support/authentication.ts";
import { UdpPeer } from "./udp-peer.ts";
import { UdpTurnClient } from "./udp-turn-client.ts";

export const ALICE = { username: "alice", password: "wonderland" } as const;
export const BOB = { username: "bob", password: "builder" } as const;

const open: AsyncDisposable[] = [];

afterEach(async () => {
  for (const each of open.splice(0).toReversed()) {
    await each[Symbol.asyncDispose]();
  }
});

/** Closes something at the end of the test. */
export function keep<T extends AsyncDisposable>(each: T): T {
  open.push(each);
  return each;
}

/** A relay on loopback that is stopped at the end of the test, and must then hold nothing. */
export async function startTestRelay(options: Partial<RelayOptions> = {}): Promise<Relay> {
  const relay = await startRelay({
    listen: ["udp:127.0.0.1:0", "udp:[::1]:0"],
    relayAddresses: ["127.0.0.1", "::1"],
    authenticate: staticUsers({ [ALICE.username]: ALICE.password, [BOB.username]: BOB.password }),
    peers: { allow: ["127.0.0.0/8", "::1"] },
    ...options,
  });
  keep({
    async [Symbol.asyncDispose]() {
      await relay.stop();
      expect(relay.stats()).toMatchObject({ allocations: 0, relaySockets: 0, reservedPorts: 0, portsInUse: 0 });
      expect(relay.stats().internalErrors).toBe(0);
    },
  });
  return relay;
}

/** Where a relay listens. */
export function serverOf(relay: Relay, family: 4 | 6 = 4): TransportAddress {
  const listener = relay.listening.find(({ local }) => local.family === family);
  if (listener === undefined) {
    throw new Error(`The relay does not listen on IPv${family}`);
  }
  return listener.local;
}

/** A client that is closed at the end of the test. */
export async function openClient(
  relay: Relay,
  credentials: { readonly username: string; readonly password: string } = ALICE,
  family: 4 | 6 = 4,
): Promise<UdpTurnClient> {
  return keep(await UdpTurnClient.open(serverOf(relay, family), credentials));
}

/** A peer that is closed at the end of the test. */
export async function openPeer(address = "127.0.0.1", port = 0): Promise<UdpPeer> {
  return keep(await UdpPeer.open(address, port));
}

/** The relayed transport address of an allocation that must succeed. */
export async function allocated(
  client: UdpTurnClient,
  ...attributes: readonly EncodedAttribute[]
): Promise<TransportAddress> {
  const relayed = await client.allocate(...attributes);
  if (typeof relayed === "number") {
    throw new TypeError(`Not allocated: ${relayed}`);
  }
  return relayed;
}

/** Bytes that differ from place to place, and by `seed`. */
export function bytes(length: number, seed = 1): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (index * 7 + seed) & 0xff);
}
