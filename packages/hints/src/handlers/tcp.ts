import { isIP } from "node:net";
import { isOnion, PolicyError } from "../gate.ts";
import type { Endpoint, HintContext, HintHandler } from "../handler.ts";
import { InvalidHintError } from "../hint-error.ts";
import { type HostPort, parseHostPort } from "../host-port.ts";
import { chooseRoute, type Routes } from "../routes.ts";
import type { Tor } from "../tor/tor.ts";
import { torEndpoint } from "./tor.ts";

/** What the handlers for TCP, TLS and WebSocket have in common: local configuration. */
export interface RouteOptions extends Routes {
  /** Needed for the route `tor`. */
  readonly tor?: Tor | undefined;
}

/** `tcp:host:port`. */
export function createTcpHandler(options: RouteOptions = {}): HintHandler {
  return {
    toEndpoint(context) {
      const target = parseHostPort(context.hint.rest, placeOf(context));
      return routedEndpoint(context, target, options);
    },
  };
}

/** An endpoint for a host and port, by the route that local configuration chooses. For handlers of protocols over TCP. */
export function routedEndpoint(context: HintContext, target: HostPort, options: RouteOptions): Endpoint {
  const route = chooseRoute(target, options);
  if (route === "disabled") {
    throw new PolicyError("route-disabled", `TCP to ${target.host} is disabled by local configuration (hints.tcp)`);
  }
  if (route === "tor") return torEndpoint(context, target, { tor: options.tor });
  if (isOnion(target.host)) {
    throw new InvalidHintError({ code: "onion-name", hint: context.hint.text, offset: context.hint.type.length + 1 });
  }
  const spelledOut = isIP(target.host) !== 0 || target.host === "localhost" || target.host.endsWith(".localhost");
  return {
    lane: "public",
    host: target.host,
    target: { host: target.host, port: target.port },
    connect({ signal, address }) {
      if (address === undefined) throw new TypeError(`Cannot dial ${target.host}: it was not resolved`);
      return context.network.dial({ kind: "tcp", address, port: target.port, spelledOut }, { signal });
    },
  };
}

/** The place of a hint's rest, for errors. */
export function placeOf(context: HintContext): { readonly hint: string; readonly start: number } {
  return { hint: context.hint.text, start: context.hint.type.length + 1 };
}
