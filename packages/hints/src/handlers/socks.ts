import type { ConfiguredNetwork, Gate } from "../gate.ts";
import type { HintHandler } from "../handler.ts";
import { parseHostPort } from "../host-port.ts";
import type { DialTarget } from "../network.ts";
import { socksConnect } from "../socks-client.ts";
import { placeOf } from "./tcp.ts";

/** A SOCKS5 proxy of local configuration. */
export interface SocksProxyOptions {
  readonly target: DialTarget;
  readonly username?: string;
  readonly password?: string;
}

/** `socks:host:port`: the host, through the proxy that local configuration names. The proxy resolves names. */
export function createSocksHandler(options: { readonly proxy: SocksProxyOptions; readonly gate: Gate }): HintHandler {
  const { proxy, gate } = options;
  const way: ConfiguredNetwork = gate.configured("proxy", [proxy.target]);
  return {
    toEndpoint(context) {
      const target = parseHostPort(context.hint.rest, placeOf(context));
      gate.checkRemote(target.host);
      return {
        lane: "relay",
        host: target.host,
        halfClose: false,
        async connect({ signal }) {
          const stream = await way.dial(proxy.target, { signal });
          return socksConnect(stream, {
            host: target.host,
            port: target.port,
            username: proxy.username,
            password: proxy.password,
            signal,
          });
        },
      };
    },
  };
}
