import type { RevocationList } from "@turnpike/authn/turn";
import { createSystemClock, parseExternalAddress, parseListenSpec, type Relay } from "@turnpike/relay";
import {
  createStampSecret,
  type LinkParameters,
  PortalLink,
  PortalLinkError,
  PortalOrders,
  RelayReporter,
} from "@turnpike/relay/link";
import { type Telemetry, traceOrders } from "@turnpike/relay/telemetry";
import { formatIpAddress } from "@turnpike/stun";
import type { Configuration } from "../config/schema.ts";
import { CommandError } from "../errors.ts";
import type { Logger } from "../log.ts";
import type { World } from "../world.ts";
import type { LinkTarget } from "./link-target.ts";
import { urlsOf } from "./listening-urls.ts";

type Tracer = Telemetry["tracer"];

/** Everything of a relay's link to its portal. */
export interface LinkParts {
  readonly stampSecret: string;
  readonly orders: PortalOrders;
  readonly reporter: RelayReporter;
  readonly isUp: () => boolean;
  /** Connects; resolves with the portal's first `init`. Rejects with a CommandError if the portal refuses. */
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
      } catch (error) {
        if (!(error instanceof PortalLinkError)) throw error;
        throw new CommandError(error.message, { exitCode: 1, cause: error });
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
