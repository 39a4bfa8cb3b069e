import { once } from "node:events";
import { connect, type Socket } from "node:net";
import type { Relay, RelayOptions } from "@turnpike/relay";
import { formatIpAddress, type TransportAddress } from "@turnpike/stun";
import type { ClientTransport } from "@turnpike/turn";
import { TestCertificate } from "./certificate.ts";
import { LinkTurnClient } from "./link-turn-client.ts";
import { ALICE, type BOB, keep, startTestRelay } from "./relay.ts";

/** The certificate of every relay that {@link startStreams} starts. */
export const certificate = new TestCertificate();

/** A listener of each kind: every stream transport is found on the TCP one. */
export const LISTEN = ["udp:127.0.0.1:0", "tcp:127.0.0.1:0", "dtls:127.0.0.1:0", "tcp:[::1]:0"];

type Linked = Exclude<ClientTransport, "udp">;

/** A relay that listens for every transport, streams on IPv6 too. */
export function startStreams(options: Partial<RelayOptions> = {}): Promise<Relay> {
  return startTestRelay({ listen: LISTEN, tls: certificate, ...options });
}

/** Where a relay listens for a transport. */
export function serverOf(relay: Relay, transport: ClientTransport, family: 4 | 6 = 4): TransportAddress {
  const found = relay.listening.find((each) => each.transport === transport && each.local.family === family);
  if (found === undefined) throw new Error(`The relay does not listen on ${transport}`);
  return found.local;
}

/** A client over a transport other than UDP, closed at the end of the test. */
export async function link(
  relay: Relay,
  transport: Linked,
  options: {
    readonly credentials?: typeof ALICE | typeof BOB;
    readonly preamble?: Uint8Array;
    readonly family?: 4 | 6;
  } = {},
): Promise<LinkTurnClient> {
  const server = serverOf(relay, transport, options.family);
  const { credentials = ALICE, preamble } = options;
  return keep(await LinkTurnClient.open({ transport, server, ca: certificate.pem, credentials, preamble }));
}

/** The relayed transport address of a new allocation. */
export async function allocated(client: LinkTurnClient, transport: "udp" | "tcp" = "udp"): Promise<TransportAddress> {
  const relayed = await client.allocate(transport);
  if (typeof relayed === "number") throw new TypeError(`Not allocated: ${relayed}`);
  return relayed;
}

/** A raw connection whose end is awaited. */
export async function raw(
  server: TransportAddress,
): Promise<{ readonly socket: Socket; readonly ended: Promise<unknown> }> {
  const socket = connect({ host: formatIpAddress(server), port: server.port });
  socket.on("error", () => {});
  const ended = new Promise((resolve) => socket.once("close", resolve));
  await once(socket, "connect");
  socket.resume();
  keep({
    async [Symbol.asyncDispose]() {
      socket.destroy();
      await ended;
    },
  });
  return { socket, ended };
}
