import type { Duplex } from "node:stream";
import type { HintPolicy, Network } from "./gate.ts";
import type { Hint } from "./hint.ts";
import type { Lane } from "./race.ts";

/** Where messages go. The shape of most structured loggers. */
export interface HintLogger {
  debug(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

/** Says nothing. */
export const silentLogger: HintLogger = { debug: () => undefined, warn: () => undefined };

/** How the peer shall prove who it is, beyond what the hint's own protocol asks. */
export interface PeerIdentity {
  /** SHA-256 of the peer's public key (SubjectPublicKeyInfo, DER): 32 bytes. */
  readonly keyDigest: Uint8Array;
  /**
   * `pin`: TLS of the hint must show this key, and names do not count. `reference`: TLS of the hint may show this key or
   * a valid name, because the reference's own TLS inside it proves the key.
   */
  readonly kind: "pin" | "reference";
}

/** What a handler is given for one hint. */
export interface HintContext {
  readonly hint: Hint;
  /** Aborted when the hint is no longer wanted. */
  readonly signal: AbortSignal;
  /** Tells the watchers of this hint how it goes, such as "Tor: 45%". */
  status(detail: string): void;
  readonly policy: HintPolicy;
  /** The only way to the network: it enforces the policy. */
  readonly network: Network;
  readonly logger: HintLogger;
  /** What the peer must prove, if the caller knows. */
  readonly identity: PeerIdentity | undefined;
}

/** A way to a peer, ready to be tried. */
export interface Endpoint {
  /** Where the race ranks it. With `target`, its addresses are ranked one by one instead. */
  readonly lane: Lane;
  /** The name that TLS or HTTP inside the stream would use. */
  readonly host?: string;
  /**
   * A host and port that the connector shall resolve and race address by address. Without it there is one attempt, and
   * `connect` gets no address.
   */
  readonly target?: { readonly host: string; readonly port: number };
  /** Opens the stream. Must stop, and close what it opened, when `signal` is aborted. */
  connect(options: { readonly signal: AbortSignal; readonly address?: string }): Promise<Duplex>;
  /** False if ending one direction of the stream ends both, as in Tor. Default true. */
  readonly halfClose?: boolean;
  /** Speaks what comes before the peer's own bytes (TLS, an HTTP upgrade). Must close `stream` when it fails. */
  negotiate?(stream: Duplex, options: { readonly signal: AbortSignal }): Promise<Duplex>;
}

/** Makes endpoints from hints of one type. Register it with {@link Connector.addHintHandler}. */
export interface HintHandler {
  /**
   * Reads `context.hint.rest`. Local settings (a proxy, a key, a path) belong to the handler, never to the hint.
   *
   * @throws InvalidHintError if the hint is malformed; PolicyError if it may not be used.
   */
  toEndpoint(context: HintContext): Endpoint | Promise<Endpoint>;
}
