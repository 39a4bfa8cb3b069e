import type { BatchedRelayOptions } from "../batched-relay-options.ts";
import { EventLoopReactor, type EventLoopReactorOptions } from "../event-loop-reactor.ts";
import { type ReactorExchange, STREAM_ENGINE } from "../reactor-worker/reactor-exchange.ts";
import { ReplaceablePeerPolicy } from "../replaceable-peer-policy.ts";
import { SharedDatagrams } from "./shared-datagrams.ts";

/** What {@link createStreamReactor} takes. */
export interface StreamReactorOptions extends Omit<
  EventLoopReactorOptions,
  "options" | "peerPolicy" | "engine" | "others" | "claim"
> {
  readonly options: BatchedRelayOptions;
  /** Reaches the other reactors. */
  readonly exchange: ReactorExchange;
  /** A bound socket for each `udp` listener by its id, which clients that move here are answered from. */
  readonly descriptors: readonly number[];
}

/** Makes the reactor of streams and DTLS that stands beside reactors on threads. */
export function createStreamReactor(given: StreamReactorOptions): EventLoopReactor {
  const { options, exchange, descriptors, listeners, parts, ...rest } = given;
  const datagrams = new SharedDatagrams({
    libc: options.libc,
    descriptors,
    listeners,
    counters: parts.plane.counters,
  });
  parts.plane.share(datagrams);
  for (const { id, transport } of listeners) {
    if (transport === "udp") parts.plane.setKind(id, "shared");
  }
  return new EventLoopReactor({
    ...rest,
    options,
    listeners,
    parts,
    peerPolicy: new ReplaceablePeerPolicy(options.peers),
    engine: STREAM_ENGINE,
    claim: (owner, claim) => exchange.claim(owner, claim),
    others: {
      isForeign: () => false,
      sendToClient: () => {},
      closeClient: () => {},
      handlePacket: (owner, frame) => exchange.find(owner)?.give({ kind: "clientPacket", ...frame }),
      handleClosed: (owner, client) => exchange.find(owner)?.give({ kind: "clientClosed", ...client }),
      carryOut: (output) => {
        if (output.kind === "adoptClient") {
          datagrams.adopt(output.listener, output.client);
        } else if (output.kind === "releaseClient") {
          datagrams.release(output.listener, output.client);
        } else {
          const { engine, listener, connection, client, bytes } = output;
          exchange.find(engine)?.give({ kind: "handedOver", listener, connection, client, bytes });
        }
      },
    },
  });
}
