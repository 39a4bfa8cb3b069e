import type { Duplex } from "node:stream";
import { WebSocket } from "ws";
import { reasonOf } from "../clock.ts";
import type { HintHandler } from "../handler.ts";
import { guardStream } from "../network.ts";
import { formatHostPort, type HostPort, parseHostPortPath } from "../host-port.ts";
import { maximumMessageLength, WebSocketStream } from "../ws-stream.ts";
import { negotiateTls, type TlsOptions } from "./tls.ts";
import { placeOf, routedEndpoint } from "./tcp.ts";

/**
 * `ws:host:port/path` and `wss:host:port/path`: a stream of binary messages (RFC 6455). Redirects are not followed: where
 * a peer points to is not where the hint points to.
 */
export function createWebSocketHandler(options: TlsOptions & { readonly secure: boolean }): HintHandler {
  return {
    toEndpoint(context) {
      const target = parseHostPortPath(context.hint.rest, placeOf(context));
      return {
        ...routedEndpoint(context, target, options),
        async negotiate(stream, { signal }) {
          const carrier = options.secure ? await negotiateTls(stream, { context, target, options, signal }) : stream;
          return upgrade(carrier, { target, path: target.path, signal });
        },
      };
    },
  };
}

function upgrade(
  carrier: Duplex,
  using: { readonly target: HostPort; readonly path: string; readonly signal: AbortSignal },
): Promise<Duplex> {
  const { target, path, signal } = using;
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      carrier.destroy();
      reject(reasonOf(signal));
      return;
    }
    // The carrier is open, and TLS, if any, is spoken on it: no other connection is made here.
    const socket = new WebSocket(`ws://${formatHostPort(target.host, target.port)}${path}`, {
      createConnection: () => carrier,
      followRedirects: false,
      perMessageDeflate: false,
      maxPayload: maximumMessageLength,
    });
    const fail = (error: Error): void => {
      signal.removeEventListener("abort", onAbort);
      socket.on("error", () => undefined);
      socket.terminate();
      carrier.destroy();
      reject(error);
    };
    const onAbort = (): void => fail(reasonOf(signal));
    signal.addEventListener("abort", onAbort, { once: true });
    socket.once("error", fail);
    socket.once("unexpected-response", (_request, response) => {
      response.resume();
      fail(new Error(`The peer answered the WebSocket upgrade with HTTP ${String(response.statusCode)}`));
    });
    socket.once("open", () => {
      signal.removeEventListener("abort", onAbort);
      socket.removeListener("error", fail);
      resolve(guardStream(new WebSocketStream(socket)));
    });
  });
}
