/** Limits of stream and DTLS clients. Each has a default. */
export interface StreamLimits {
  /** Bytes that may wait for one client that reads too slowly; the oldest datagrams above are dropped. Default 262,144. */
  readonly maxOutputQueueBytes?: number;
  /** From the accepting of a connection to its first TURN byte: PROXY header, TLS and WebSocket. Default 10,000. */
  readonly handshakeTimeoutMs?: number;
  /** A connection without allocation and without a whole message for so long is closed. Default 60,000. */
  readonly idleTimeoutMs?: number;
  /** Connections in all. Default 65,536. */
  readonly maxConnections?: number;
  /** Connections of one /24 (IPv4) or /56 (IPv6). Default 2,048. */
  readonly maxConnectionsPerPrefix?: number;
  /** How long dialling a peer may take (RFC 6062 §5.2: at least 30 s). Default 30,000. */
  readonly connectTimeoutMs?: number;
  /** A bound TCP relay of which one end has finished, and that carries nothing for so long, is closed. Default 120,000. */
  readonly halfClosedTimeoutMs?: number;
}

/** {@link StreamLimits} with their defaults. */
export type ResolvedStreamLimits = Required<StreamLimits>;

const DEFAULTS: ResolvedStreamLimits = {
  maxOutputQueueBytes: 262_144,
  handshakeTimeoutMs: 10_000,
  idleTimeoutMs: 60_000,
  maxConnections: 65_536,
  maxConnectionsPerPrefix: 2048,
  connectTimeoutMs: 30_000,
  halfClosedTimeoutMs: 120_000,
};

/** An answer of the engine must find room. */
const SMALLEST_OUTPUT_QUEUE = 4096;
/** RFC 6062 §5.2. */
const SHORTEST_CONNECT_TIMEOUT_MS = 30_000;
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

/** @throws RangeError for a limit that makes no sense. */
export function resolveStreamLimits(limits: StreamLimits = {}): ResolvedStreamLimits {
  const resolved = { ...DEFAULTS, ...limits };
  check("maxOutputQueueBytes", resolved.maxOutputQueueBytes, SMALLEST_OUTPUT_QUEUE);
  check("handshakeTimeoutMs", resolved.handshakeTimeoutMs, 1);
  check("idleTimeoutMs", resolved.idleTimeoutMs, 1);
  check("maxConnections", resolved.maxConnections, 1);
  check("maxConnectionsPerPrefix", resolved.maxConnectionsPerPrefix, 1);
  check("connectTimeoutMs", resolved.connectTimeoutMs, SHORTEST_CONNECT_TIMEOUT_MS);
  check("halfClosedTimeoutMs", resolved.halfClosedTimeoutMs, 1);
  return resolved;
}

function check(name: string, value: number, min: number): void {
  if (!Number.isInteger(value) || value < min || value > LONGEST_TIMEOUT_MS) {
    throw new RangeError(`Cannot serve streams: ${name} is ${value}, not a whole number of at least ${min}`);
  }
}

/** What stream and DTLS clients have done. */
export interface StreamCounts {
  /** Connections that are open, those whose handshake is under way included. */
  connections: number;
  accepted: number;
  /** Closed at once, by a limit of connections. */
  refused: number;
  /** Ended before their first TURN byte: time-out, TLS or WebSocket error, wrong PROXY header, unknown bytes. */
  failedHandshakes: number;
  /** Closed since what they sent was no TURN. */
  malformed: number;
  /** Closed since they had no allocation and said nothing. */
  idle: number;
  /** Datagrams dropped since their client read too slowly. */
  droppedDatagrams: number;
  /** Closed since they didn't read the answers to what they asked. */
  unread: number;
  /** TCP connections with peers (RFC 6062). */
  peerConnections: number;
}

/** Counts from zero. */
export function createStreamCounts(): StreamCounts {
  return {
    connections: 0,
    accepted: 0,
    refused: 0,
    failedHandshakes: 0,
    malformed: 0,
    idle: 0,
    droppedDatagrams: 0,
    unread: 0,
    peerConnections: 0,
  };
}
