import type { Duplex } from "node:stream";
import type { Gate } from "../gate.ts";
import type { HintLogger } from "../handler.ts";
import type { ListenSpec } from "./spec.ts";

/** Who came in. */
export interface Incoming {
  /** The listener's spec, as given. */
  readonly spec: string;
  /** The peer's address, where the transport knows one (not through Tor, nor on a Unix socket). */
  readonly remoteAddress: string | undefined;
  /** False if ending one direction of the stream ends both: see {@link netcat}. */
  readonly halfClose: boolean;
}

/** What a listener plug-in is given for one spec. */
export interface ListenContext {
  readonly spec: ListenSpec;
  /** Aborted when the listener is no longer wanted. */
  readonly signal: AbortSignal;
  /** Tells the watchers how it goes. */
  status(detail: string): void;
  /** To be asked before anything is bound. */
  readonly gate: Gate;
  readonly logger: HintLogger;
  /** The port that this spec found at an earlier start, if it asks for any (`tcp:0`). */
  readonly keptPort: number | undefined;
  /** Streams that may be open at once. Connections beyond twice as many must not be taken, handshakes included. */
  readonly maximumStreams: number;
  /** Hands over a stream that came in. */
  accept(stream: Duplex, incoming: { readonly remoteAddress: string | undefined; readonly halfClose?: boolean }): void;
}

/** A listener that is up. */
export interface Listening {
  /** Where, for people. */
  readonly bound: string;
  /** The port it found, if its spec asked for any: it is kept for the next start. */
  readonly foundPort?: number;
  /** The hints that lead to it, best first, as far as it knows. */
  readonly hints: readonly string[];
  /** Takes no more streams, and undoes what listening did. Streams that were handed over go on. */
  close(): Promise<void>;
}

/** Listens in one way: how to listen, and what to advertise. */
export interface ListenHandler {
  /** Resolves when streams can come in and the hints are known. */
  listen(context: ListenContext): Promise<Listening>;
}
