import { z } from "zod";
import { checkedText, portNumber } from "./checked-text.ts";
import { settings } from "./setting.ts";
import { checkAddress, checkPeerRange } from "./values.ts";

const DISCOVERY_PORTS = [3478, 3479] as const;

/** `[relay.nat_discovery]`: NAT behaviour discovery (RFC 5780). */
const natDiscovery = z
  .strictObject({
    addresses: z
      .array(checkedText(checkAddress))
      .refine((addresses) => addresses.length === 2, "must be two addresses of this machine")
      .refine((addresses) => new Set(addresses).size === addresses.length, "names an address a second time")
      .optional()
      .register(settings, {
        flag: "--nat-discovery-address",
        value: "IP",
        description:
          "one of the two addresses of this machine that NAT behaviour discovery answers from over UDP (RFC 5780)",
        defaultText: "none: no discovery",
      }),
    ports: z
      .tuple([
        portNumber().prefault(DISCOVERY_PORTS[0]).register(settings, {
          flag: "--nat-discovery-port",
          value: "PORT",
          description: "first port of both addresses; what is not listened on yet is opened",
        }),
        portNumber().prefault(DISCOVERY_PORTS[1]).register(settings, {
          flag: "--nat-discovery-other-port",
          value: "PORT",
          description: "second port of both addresses",
        }),
      ])
      .refine(([first, second]) => first !== second, "the two ports must differ")
      .prefault([...DISCOVERY_PORTS]),
  })
  .superRefine(({ addresses, ports }, context) => {
    if (addresses !== undefined || ports.every((each, index) => each === DISCOVERY_PORTS[index])) return;
    const message = "has no effect without relay.nat_discovery.addresses";
    context.addIssue({ code: "custom", path: ["ports"], message });
  })
  .prefault({});

/** Keys of `[relay]` that turn parts of the protocol on and off. */
export const protocolKeys = {
  mobility: z.boolean().prefault(true).register(settings, {
    flag: "--mobility",
    value: "BOOLEAN",
    description: "whether clients may take their allocations to new addresses (RFC 8016)",
  }),
  tcp_relay: z.boolean().optional().register(settings, {
    flag: "--tcp-relay",
    value: "BOOLEAN",
    description:
      "whether clients may reach peers by TCP (RFC 6062); true refuses to start on a machine that can't have it",
    defaultText: "`true` on a machine that can have it (Linux x64)",
  }),
  strict_channels: z.boolean().prefault(false).register(settings, {
    flag: "--strict-channels",
    value: "BOOLEAN",
    description:
      "whether channel numbers from 0x5000 to 0x7FFF, which clients of RFC 5766 use, are refused as RFC 8656 §12.2 says",
  }),
  trusted_proxies: z.array(checkedText(checkPeerRange)).prefault([]).register(settings, {
    flag: "--trusted-proxy",
    value: "CIDR",
    description:
      "proxies whose connections begin with a PROXY protocol header, version 1 or 2; those of others must not",
  }),
  nat_discovery: natDiscovery,
};

const DAY_SECONDS = 86_400;

/** `[streams]`: limits of clients over TCP, TLS, DTLS and WebSocket. */
export const streams = z.strictObject({
  max_queue_bytes: z.int().min(4096).max(1_073_741_824).prefault(262_144).register(settings, {
    flag: "--max-queue-bytes",
    value: "BYTES",
    description: "what may wait for one client that reads too slowly; beyond that its oldest datagrams are dropped",
  }),
  max_connections: z.int().min(1).max(10_000_000).prefault(65_536).register(settings, {
    flag: "--max-connections",
    value: "N",
    description: "connections of clients in all",
  }),
  max_connections_per_prefix: z.int().min(1).max(10_000_000).prefault(2048).register(settings, {
    flag: "--max-connections-per-prefix",
    value: "N",
    description: "connections from one network (/24, /56)",
  }),
  handshake_timeout: z.int().min(1).max(DAY_SECONDS).prefault(10).register(settings, {
    flag: "--handshake-timeout",
    value: "SECONDS",
    description: "how long PROXY header, TLS and WebSocket may take until the first byte of TURN",
  }),
  idle_timeout: z.int().min(1).max(DAY_SECONDS).prefault(60).register(settings, {
    flag: "--idle-timeout",
    value: "SECONDS",
    description: "how long a connection without an allocation may say nothing",
  }),
  connect_timeout: z.int().min(30).max(DAY_SECONDS).prefault(30).register(settings, {
    flag: "--connect-timeout",
    value: "SECONDS",
    description: "how long a peer may take to answer a TCP connection (RFC 6062 §5.2: 30 at least)",
  }),
  half_closed_timeout: z.int().min(1).max(DAY_SECONDS).prefault(120).register(settings, {
    flag: "--half-closed-timeout",
    value: "SECONDS",
    description: "how long a TCP connection with a peer, one side of which has finished, may carry nothing",
  }),
});
