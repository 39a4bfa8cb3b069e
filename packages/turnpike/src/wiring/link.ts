import type { RevocationList } from "@turnpike/authn/turn";
import {
  createStampSecret,
  createSystemClock,
  type LinkConnector,
  type LinkParameters,
  type LinkTimes,
  parseExternalAddress,
  parseListenSpec,
  PortalLink,
  PortalOrders,
  type Relay,
  RelayReporter,
} from "@turnpike/relay";
import { type Telemetry, traceOrders } from "@turnpike/relay/telemetry";
import { formatIpAddress, formatTransportAddress, sameIp, type TransportAddress, withPort } from "@turnpike/stun";
import type { Configuration } from "../config/schema.ts";
import type { Logger } from "../log.ts";
import type { World } from "../world.ts";

type Tracer = Telemetry["tracer"];

/** Which portal, and what with. */
export interface LinkTarget {
  readonly url: string;
  readonly token: string;
  /** Whether the token may travel in clear: to the portal of this very process, or inside of TLS or Tor. */
  readonly allowCleartext?: boolean;
  /** What opens the connection. Default: the system's sockets. */
  readonly connector?: LinkConnector | undefined;
  readonly times?: LinkTimes | undefined;
}

/** Everything of a relay's link to its portal. */
export interface LinkParts {
  readonly stampSecret: string;
  readonly orders: PortalOrders;
  readonly reporter: RelayReporter;
  readonly isUp: () => boolean;
  /** Connects; resolves with the portal's first `init`. */
  connect(): Promise<void>;
  /** The relay that serves. */
  setRelay(relay: Relay): void;
  /** Calls `listener` whenever the portal has sent other fleet secrets. */
  onFleetSecrets(listener: () => void): void;
  /** Where what the portal wants is traced. */
  setTracer(tracer: Tracer): void;
  /** What refuses credentials, and ends what lives by them. */
  setRevocations(revocations: RevocationList): void;
  /** Tells the portal that no new allocations are taken. */
  announceDrain(): void;
  /** A relay that still waits for its portal's `init` waits no longer. */
  stopWaiting(): void;
  stop(): void;
}

/** What a portal takes of URLs. */
const MAX_URLS = 16;
/** Allocations that a relay of one process carries with ease: what load is measured by. */
const EASY_ALLOCATIONS = 1_000;

/** Makes a link that is still disconnected. @throws TypeError for a URL or token that can't be used */
export function createLink(options: {
  readonly configuration: Configuration;
  readonly target: LinkTarget;
  readonly world: World;
  readonly logger: Logger;
  /** What names the relay by its key. */
  readonly referenceOf?: ((relay: Relay) => string | undefined) | undefined;
}): LinkParts {
  const { configuration, target, world, logger, referenceOf } = options;
  const stampSecret = createStampSecret();
  const state: {
    relay?: Relay;
    revocations?: RevocationList;
    onFleetSecrets?: () => void;
    tracer?: Tracer;
    isDraining: boolean;
    isReady: boolean;
  } = { isDraining: false, isReady: false };
  const orders = new PortalOrders({
    revoke: ({ by, value, until_unix_ms: untilUnixMs }) =>
      state.revocations?.revoke({ by, value, untilUnixMs }, { nowUnixMs: world.unixMs() }),
    onFleetSecrets: () => state.onFleetSecrets?.(),
    onDrain: () => {
      logger.info({}, "The portal wants no new allocations here");
      state.isDraining = true;
      reporter.reportPresence();
    },
  });
  const link: PortalLink = new PortalLink({
    portal: { url: target.url, allowCleartext: target.allowCleartext ?? false },
    token: target.token,
    stampSecret,
    logger,
    ...(target.connector && { connector: target.connector }),
    ...(target.times && { times: target.times }),
    onReady: () => reporter.handleReady(),
    onAway: () => reporter.handleAway(),
    onMessage: traceOrders(
      (message) => orders.handle(message),
      () => state.tracer,
    ),
  });
  const reporter = new RelayReporter({
    link,
    clock: createSystemClock(),
    presence: () => ({
      reference: state.relay && referenceOf?.(state.relay),
      load: Math.min(1, (state.relay?.stats().allocations ?? 0) / EASY_ALLOCATIONS),
      version: world.version,
      draining: state.isDraining,
      urls:
        state.relay === undefined
          ? []
          : urlsOf(state.relay, { hasCertificate: configuration.tls.cert !== undefined }).slice(0, MAX_URLS),
    }),
  });
  return {
    stampSecret,
    orders,
    reporter,
    isUp: () => link.isUp,
    async connect() {
      const span = state.tracer?.startSpan("portal.link");
      try {
        link.connect(parametersOf(configuration));
        await link.ready;
        state.isReady = true;
      } finally {
        span?.setAttribute("turnpike.link.up", state.isReady).end();
      }
    },
    setRelay(relay) {
      state.relay = relay;
      orders.setRelay(relay);
      reporter.reportPresence();
    },
    onFleetSecrets(listener) {
      state.onFleetSecrets = listener;
    },
    setTracer(tracer) {
      state.tracer = tracer;
    },
    setRevocations(revocations) {
      state.revocations = revocations;
    },
    announceDrain() {
      state.isDraining = true;
      reporter.reportPresence();
    },
    stopWaiting() {
      if (!state.isReady) link.stop();
    },
    stop() {
      reporter.stop();
      link.stop();
    },
  };
}

/** Where clients reach a relay by URLs of ICE servers, which say nothing of keys: TLS needs a certificate for the world. */
export function urlsOf(relay: Relay, { hasCertificate }: { readonly hasCertificate: boolean }): readonly string[] {
  const urls = publicListeners(relay).flatMap(({ transport, address }) => {
    const form = transport === "tls" && !hasCertificate ? undefined : URL_FORMS[transport];
    return form === undefined ? [] : [`${form.scheme}:${formatTransportAddress(address)}?transport=${form.transport}`];
  });
  return [...new Set(urls)];
}

/** Where a relay listens, as the world sees it: by the public half of an address that a NAT translates. */
export function publicListeners(
  relay: Relay,
): readonly { readonly transport: Listening["transport"]; readonly address: TransportAddress }[] {
  return relay.listening.map(({ transport, local }) => {
    const translated = relay.relayAddresses.find((address) => sameIp(address.local, local));
    return { transport, address: translated === undefined ? local : withPort(translated.relayed, local.port) };
  });
}

/** RFC 7065 knows no WebSocket: browsers refuse a whole list of ICE servers for one URL that they can't read. */
const URL_FORMS: Readonly<
  Record<Listening["transport"], { readonly scheme: string; readonly transport: string } | undefined>
> = {
  udp: { scheme: "turn", transport: "udp" },
  tcp: { scheme: "turn", transport: "tcp" },
  tls: { scheme: "turns", transport: "tcp" },
  dtls: { scheme: "turns", transport: "udp" },
  ws: undefined,
  wss: undefined,
};
type Listening = Relay["listening"][number];

function parametersOf({ relay, portal: { name } }: Configuration): LinkParameters {
  const [spec] = (relay.listen ?? []).map(parseListenSpec);
  const known = [
    ...relay.external_addresses.map((text) => formatIpAddress(parseExternalAddress(text).public)),
    ...(relay.relay_addresses ?? []),
  ];
  const ipv4 = known.find((address) => !address.includes(":"));
  const ipv6 = known.find((address) => address.includes(":"));
  return {
    port: spec?.local.port ?? 3478,
    ...(name === undefined ? {} : { name }),
    ...(ipv4 === undefined ? {} : { ipv4 }),
    ...(ipv6 === undefined ? {} : { ipv6 }),
  };
}
