import type { Duplex } from "node:stream";
import {
  formatHostPort,
  guardStream,
  InvalidHintError,
  isOnion,
  parseHostPort,
  type Connector,
  type Endpoint,
  type HintContext,
  type HintHandler,
  type HostPort,
} from "@turnpike/hints";
import { allocate, pickCredentials, type CredentialOptions } from "./allocate.ts";
import type { Allocation } from "./allocation.ts";
import type { TlsClientOptions } from "./transports/transport.ts";
import { serverOf, streamRelayOf, type TurnUri } from "./uri.ts";

/** The relay of `turn:` hints: local configuration. */
export type TurnHintOptions = CredentialOptions & {
  /** A `turn:` or `turns:` URI over TCP, TLS or WebSocket, such as `turns:relay.example`. */
  readonly relay: string | TurnUri;
  /** What the relay is reached through, so that its policy and its Tor hold for it. */
  readonly connector: Connector;
  /** How the relay proves who it is. */
  readonly tls?: TlsClientOptions;
};

/** Addresses of one peer that are tried, one after the other. */
const MAXIMUM_ADDRESSES = 4;

/**
 * `turn:host:port`: a stream to a peer through the TURN relay of local configuration (RFC 6062). The hint names the peer
 * and nothing else, so that no hint decides who sees the credentials.
 *
 * @example
 * connector.addHintHandler("turn", createTurnHintHandler({ relay: "turns:relay.example", username, credential, connector }));
 *
 * @throws UriError if `relay` is no URI; TypeError if it is not one of TURN over a stream.
 */
export function createTurnHintHandler(options: TurnHintOptions): HintHandler {
  const relay = streamRelayOf(options.relay);
  const { connector } = options;
  const server = serverOf(relay);
  return {
    toEndpoint(context): Endpoint {
      const start = context.hint.type.length + 1;
      const peer = parseHostPort(context.hint.rest, { hint: context.hint.text, start });
      if (isOnion(peer.host)) {
        throw new InvalidHintError({ code: "onion-name", hint: context.hint.text, offset: start });
      }
      connector.gate.checkRemote(peer.host);
      return {
        lane: connector.tcpRoute(server) === "tor" || isOnion(server.host) ? "tor" : "relay",
        host: peer.host,
        halfClose: false,
        connect: ({ signal }) => connectPeer(peer, { context, signal, relay, options }),
      };
    },
  };
}

interface Connecting {
  readonly context: HintContext;
  readonly signal: AbortSignal;
  readonly relay: TurnUri;
  readonly options: TurnHintOptions;
}

async function connectPeer(peer: HostPort, { context, signal, relay, options }: Connecting): Promise<Duplex> {
  const { family, addresses } = await addressesOf(peer, context, signal);
  const { connector, tls } = options;
  const { host } = relay;
  context.status(`TURN: allocating at ${host}`);
  const allocation = await allocate(relay, {
    ...pickCredentials(options),
    ...(tls === undefined ? {} : { tls }),
    ...(family === 6 ? { families: [6] } : {}),
    transports: ["tcp", "tls"],
    relay: "tcp",
    connector,
    signal,
  });
  try {
    context.status(`TURN: ${host} is connecting to the peer`);
    const stream = guardStream(await connectFirst(allocation, { addresses, port: peer.port, signal }));
    // Each stream has an allocation of its own, which lives as long as it does.
    stream.once("close", () => void allocation.close());
    if (stream.destroyed) void allocation.close();
    context.status(`TURN: through ${host}`);
    return stream;
  } catch (error) {
    void allocation.close();
    throw error;
  }
}

/** A relay takes addresses only (XOR-PEER-ADDRESS): names are resolved here, behind the gate, IPv4 first. */
async function addressesOf(
  peer: HostPort,
  context: HintContext,
  signal: AbortSignal,
): Promise<{ readonly family: 4 | 6; readonly addresses: readonly string[] }> {
  if (peer.kind !== "name") return { family: peer.kind === "ipv6" ? 6 : 4, addresses: [peer.host] };
  const resolve = (family: 4 | 6): Promise<readonly string[]> => context.network.resolve(peer.host, { family, signal });
  try {
    return { family: 4, addresses: await resolve(4) };
  } catch (error) {
    if (signal.aborted) throw error;
    return { family: 6, addresses: await resolve(6) };
  }
}

async function connectFirst(
  allocation: Allocation,
  options: { readonly addresses: readonly string[]; readonly port: number; readonly signal: AbortSignal },
): Promise<Duplex> {
  const { addresses, port, signal } = options;
  const errors: unknown[] = [];
  for (const address of addresses.slice(0, MAXIMUM_ADDRESSES)) {
    try {
      return await allocation.connect(formatHostPort(address, port), { signal });
    } catch (error) {
      if (signal.aborted) throw error;
      errors.push(error);
    }
  }
  throw errors[0];
}
