import { randomBytes } from "node:crypto";
import { loadOpenSsl, type OpenSsl } from "@turnpike/dtls";
import { type AddressRange, addressRange, rangeContains } from "@turnpike/turn";
import { isDatagramTransport, type ListenSpec, needsCertificate } from "../addresses/listen.ts";
import { loadLibc } from "../libc/libc.ts";
import { type ConnectionPorts, RelayStartError } from "../listeners.ts";
import type { Logger } from "../logger.ts";
import { PortablePlane } from "../planes/portable/portable-plane.ts";
import type { RelayOptions } from "../relay-options.ts";
import { BoundSockets } from "./bound-socket.ts";
import { CertificateFiles } from "./certificate-files.ts";
import { ConnectionLimits } from "./connection-limits.ts";
import { DtlsPlane } from "./dtls-plane.ts";
import { EventLoopPlane } from "./event-loop-plane.ts";
import type { StreamTransport } from "./stream-acceptor.ts";
import { createStreamCounts, resolveStreamLimits, type StreamCounts } from "./stream-options.ts";
import { StreamPlane } from "./stream-plane.ts";
import { TcpRelaySockets } from "./tcp-relay-sockets.ts";

/** What {@link createEventLoopPlane} goes by. */
export interface CreateEventLoopPlaneOptions {
  readonly options: Pick<RelayOptions, "tls" | "identity" | "streams" | "trustedProxies" | "tcpRelay" | "plane">;
  readonly specs: readonly ListenSpec[];
  readonly logger: Logger;
  readonly monotonicMs: () => number;
}

/** A plane for an event loop, and what is needed around it. */
export interface EventLoopParts {
  readonly plane: EventLoopPlane;
  readonly ports: ConnectionPorts;
  readonly streams: StreamPlane;
  readonly counts: StreamCounts;
  readonly certificate: CertificateFiles | undefined;
}

const MAX_CONNECTION = 2 ** 31 - 1;

/**
 * Makes all sockets' owners, opens none.
 *
 * @throws TypeError or RangeError for a wrong configuration, {@link RelayStartError} for what this machine lacks.
 */
export function createEventLoopPlane(given: CreateEventLoopPlaneOptions): EventLoopParts {
  const { options, specs, logger, monotonicMs } = given;
  const limits = resolveStreamLimits(options.streams);
  const trusted = (options.trustedProxies ?? []).map(addressRange);
  const unserved = specs.find(({ transport }) => needsCertificate(transport) && options.tls === undefined);
  if (unserved !== undefined) {
    throw new TypeError(
      `Cannot listen on ${unserved.transport}: it needs a certificate; name its files (--cert FILE --key FILE)`,
    );
  }
  const openSsl = specs.some(({ transport }) => transport === "dtls") ? requireOpenSsl() : undefined;
  const tcpRelay = createTcpRelay(options.tcpRelay, specs, logger);
  const certificate = options.tls && new CertificateFiles({ ...options.tls, logger });
  const datagrams = new PortablePlane(options.plane);
  const counts = createStreamCounts();
  const connectionLimits = new ConnectionLimits(limits);
  let lastConnection = 0;
  const shared = {
    limits,
    connectionLimits,
    counts,
    counters: datagrams.counters,
    monotonicMs,
    nextConnection: (): number => {
      do {
        lastConnection = (lastConnection % MAX_CONNECTION) + 1;
      } while (streams.find(lastConnection) !== undefined || dtls.has(lastConnection));
      return lastConnection;
    },
  };
  const streams = new StreamPlane({
    ...shared,
    ...(certificate && { certificate: certificate.current }),
    ...(options.identity && { identity: options.identity }),
    ticketKeys: randomBytes(48),
    isTrustedProxy: (ip) => trusted.some((range: AddressRange) => rangeContains(range, ip)),
  });
  const dtls = new DtlsPlane({
    ...shared,
    server: openSsl && certificate && { openSsl, certificate: certificate.current, cookieKey: randomBytes(32) },
  });
  certificate?.onChange((changed) => {
    streams.setCertificate(changed);
    dtls.setCertificate(changed);
  });
  const sockets = tcpRelay && new TcpRelaySockets({ sockets: tcpRelay, limits, counts });
  const plane = new EventLoopPlane({ datagrams, streams, dtls, tcpRelay: sockets });
  const ports: ConnectionPorts = {
    openStreams(local, listeners) {
      const served = new Map<StreamTransport, number>();
      for (const [transport, listener] of listeners) {
        plane.setKind(listener, "streams");
        if (isStreamTransport(transport)) served.set(transport, listener);
      }
      return streams.openPort(local, served);
    },
    openDtls(local, listener) {
      plane.setKind(listener, "dtls");
      return dtls.openPort(listener, local);
    },
  };
  return { plane, ports, streams, counts, certificate };
}

function isStreamTransport(transport: string): transport is StreamTransport {
  return transport === "tcp" || transport === "tls" || transport === "ws" || transport === "wss";
}

function requireOpenSsl(): OpenSsl {
  const found = loadOpenSsl();
  if ("unavailable" in found) {
    throw new RelayStartError(
      `Cannot listen on dtls: ${found.unavailable}; install koffi and use an official node binary, or leave dtls: out`,
      "ERR_DTLS_UNAVAILABLE",
    );
  }
  return found;
}

/** Undefined if TCP relay sockets are not wanted, can't be had, or nobody could ask for them. */
function createTcpRelay(
  wanted: boolean | undefined,
  specs: readonly ListenSpec[],
  logger: Logger,
): BoundSockets | undefined {
  const hasStreams = specs.some(({ transport }) => !isDatagramTransport(transport));
  if (wanted === false || (wanted === undefined && !hasStreams)) return undefined;
  const libc = loadLibc();
  if (!("unavailable" in libc)) return new BoundSockets(libc);
  if (wanted === true) {
    throw new RelayStartError(`Cannot have TCP relay sockets: ${libc.unavailable}`, "ERR_TCP_RELAY_UNAVAILABLE");
  }
  logger.info({ reason: libc.unavailable }, "TCP relay sockets (RFC 6062) can't be had here");
  return undefined;
}
