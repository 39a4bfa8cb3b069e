import type { Duplex } from "node:stream";
import type { HintContext, HintHandler } from "../handler.ts";
import { type HostPort, parseHostPort } from "../host-port.ts";
import { startTls } from "../tls-client.ts";
import { placeOf, type RouteOptions, routedEndpoint } from "./tcp.ts";

/** Local configuration of TLS. */
export interface TlsOptions extends RouteOptions {
  /** Certificates of the authorities to trust, PEM. Default: those of the platform. */
  readonly ca?: readonly string[];
  /** Protocols to offer by ALPN. Default none. */
  readonly alpnProtocols?: readonly string[];
}

/** `tls:host:port`: TLS 1.2 or 1.3; the certificate must be valid for the host, or show the pinned key. */
export function createTlsHandler(options: TlsOptions = {}): HintHandler {
  return {
    toEndpoint(context) {
      const target = parseHostPort(context.hint.rest, placeOf(context));
      return {
        ...routedEndpoint(context, target, options),
        negotiate: (stream, { signal }) => negotiateTls(stream, { context, target, options, signal }),
      };
    },
  };
}

/** Speaks TLS to the host of a hint, as {@link createTlsHandler} does. */
export function negotiateTls(
  stream: Duplex,
  using: {
    readonly context: HintContext;
    readonly target: HostPort;
    readonly options: TlsOptions;
    readonly signal: AbortSignal;
  },
): Promise<Duplex> {
  const { context, target, options, signal } = using;
  return startTls(stream, {
    host: target.host,
    ca: options.ca,
    alpnProtocols: options.alpnProtocols,
    identity: context.identity,
    signal,
  });
}
