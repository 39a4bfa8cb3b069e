import { PlaneUnavailableError, type Relay, RelayStartError, type TlsIdentity } from "@turnpike/relay";
import type { ControlSocket } from "@turnpike/relay/control";
import type { Telemetry } from "@turnpike/relay/telemetry";
import type { LifecycleEvent } from "@turnpike/turn";
import type { Credentials } from "../config/credentials.ts";
import type { Configuration } from "../config/schema.ts";
import { CommandError } from "../errors.ts";
import type { Logger } from "../log.ts";
import { isForRelay } from "../options.ts";
import type { World } from "../world.ts";
import type { ConfigurationSource, ReadConfiguration } from "./configuration-source.ts";
import { openControl } from "./control.ts";
import { withDiscoveredAddresses } from "./discovery.ts";
import type { LinkParts } from "./link.ts";
import type { LinkTarget } from "./link-target.ts";
import { type Observation, openObservation } from "./observation.ts";
import { loggerOf } from "./logger.ts";
import { loadRelayIdentity, type RelayIdentity } from "./relay-identity.ts";
import { createReloader, type Reloader } from "./reload.ts";
import { connectServiceManager, type ServiceManager } from "./service-manager.ts";
import { type ConfiguredRelay, startConfiguredRelay } from "./start-relay.ts";

/** What {@link runRelay} goes by. */
export interface RunRelayOptions {
  readonly source: ConfigurationSource;
  /** What was read of it. */
  readonly initial: ReadConfiguration;
  readonly world: World;
  /** Where to link to. Default: nowhere. */
  readonly portal?: LinkTarget | undefined;
  /** Default: made from the configuration. */
  readonly logger?: Logger;
  /** Of the whole process. Default: the relay's own. */
  readonly telemetry?: Telemetry | undefined;
  /** Called once the relay serves. */
  readonly onReady?: (relay: Relay, names: { readonly reference: string | undefined }) => void | Promise<void>;
}

/** Runs a relay until a signal stops it. @throws CommandError if it can't be started. */
export async function runRelay(options: RunRelayOptions): Promise<void> {
  const { source, initial, world } = options;
  const logger = options.logger ?? loggerOf(initial.loaded.configuration, world);
  for (const { where, message } of initial.concerns) logger.warn({ where }, message);
  const service = connectServiceManager({ world, logger });
  const reloader = createReloader({ source, initial, concerned: isForRelay, live: LIVE_KEYS, world, logger, service });
  try {
    await runReloadable({ ...options, logger, service, reloader });
  } finally {
    reloader.close();
    service.close();
  }
}

async function runReloadable(
  options: RunRelayOptions & {
    readonly logger: Logger;
    readonly service: ServiceManager;
    readonly reloader: Reloader;
  },
): Promise<void> {
  const { initial, world, logger, service, reloader, portal } = options;
  const { credentials, loaded } = initial;
  const configuration = await withDiscoveredAddresses(loaded.configuration, { world, logger });
  const identity = await loadRelayIdentity({ configuration, world, logger });
  const link = await linkOf({ configuration, world, logger, portal, identity });
  const observation = await openObservation({ configuration, world, logger, link, telemetry: options.telemetry });
  // Signals are listened to before anything can be asked of the relay.
  const starting = start({ configuration, credentials, logger, link, observation, identity: identity?.tls });
  let { drain_timeout: drainSeconds } = configuration.relay;
  let control: ControlSocket | undefined;
  const announce = async (): Promise<void> => {
    const configured = await starting;
    const { relay } = configured;
    control = await openControl({ relay, configuration, world, logger });
    const reference = identity?.referenceOf(relay);
    if (reference !== undefined) logger.info({ reference }, "A reference names this relay by its key");
    await options.onReady?.(relay, { reference });
    service.ready();
    reloader.begin((next) => {
      const { configuration: wanted } = next.loaded;
      const { offersStay } = configured.reconfigure({ configuration: wanted, credentials: next.credentials });
      logger.level = wanted.log.level;
      ({ drain_timeout: drainSeconds } = wanted.relay);
      const listensStay = (wanted.tls.cert === undefined) === (loaded.configuration.tls.cert === undefined);
      return [...(offersStay ? [] : OFFERS), ...(listensStay ? [] : CERTIFICATE)];
    });
  };
  const stop = { starting, drainSeconds: () => drainSeconds, world, logger, link, observation, service };
  try {
    await Promise.all([untilStopped(stop), announce()]);
  } finally {
    link?.stop();
    await control?.close();
    await observation.stop();
  }
}

/** Keys whose changes a running relay takes over; a table's name stands for all that is in it. */
const LIVE_KEYS: readonly string[] = [
  "turn.user",
  "turn.shared_secrets",
  "turn.shared_secrets_file",
  "turn.webhook",
  "turn.oauth",
  "authn.schemes_turn",
  "penalties",
  "peers",
  "quota.user",
  "quota.total",
  "quota.address",
  "quota.user_bandwidth",
  "quota.allocation_bandwidth",
  "quota.total_bandwidth",
  "quota.requests_per_second",
  "quota.challenges_per_second",
  "quota.allocations_per_second",
  "relay.max_lifetime",
  "redirect.rule",
  "tls",
  "relay.drain_timeout",
  "log.level",
];

/** What challenges offer follows from these: a change of it is for the next start. */
const OFFERS = ["turn.user", "authn.schemes_turn", "turn.webhook", "turn.oauth"];

/** A relay that started without a certificate has no listeners for one; one that started with it keeps it. */
const CERTIFICATE = ["tls.cert", "tls.key"];

async function linkOf(options: {
  readonly portal: LinkTarget | undefined;
  readonly configuration: Configuration;
  readonly world: World;
  readonly logger: Logger;
  readonly identity: RelayIdentity | undefined;
}): Promise<LinkParts | undefined> {
  const { portal: target, configuration, world, logger, identity } = options;
  if (target === undefined) return undefined;
  // A relay that stands alone needs none of it.
  const { createLink } = await import("./link.ts");
  try {
    return createLink({ configuration, target, world, logger, referenceOf: (relay) => identity?.referenceOf(relay) });
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof RangeError)) throw error;
    throw new CommandError(error.message, { exitCode: 2, cause: error });
  }
}

async function start(options: {
  readonly configuration: Configuration;
  readonly credentials: Credentials;
  readonly logger: Logger;
  readonly link: LinkParts | undefined;
  readonly observation: Observation;
  readonly identity: TlsIdentity | undefined;
}): Promise<ConfiguredRelay> {
  const { link, observation } = options;
  const onEvent = (event: LifecycleEvent): void => {
    observation.handleEvent(event);
    link?.reporter.handleEvent(event);
  };
  try {
    const configured = await startConfiguredRelay({ ...options, onEvent });
    observation.setRelay(configured.relay);
    return configured;
  } catch (error) {
    const isRefusal = error instanceof RelayStartError || error instanceof PlaneUnavailableError;
    if (isRefusal) throw new CommandError(error.message, { exitCode: 1, cause: error });
    // The rooms below throw these for what can't be told from a single value of the configuration.
    if (error instanceof TypeError || error instanceof RangeError) {
      throw new CommandError(error.message, { exitCode: 2, cause: error });
    }
    throw error;
  }
}

/**
 * The first signal drains, as long as the configuration lets it; the second stops at once, a third ends the process
 * whatever it is doing.
 */
async function untilStopped(options: {
  readonly starting: Promise<ConfiguredRelay>;
  readonly drainSeconds: () => number;
  readonly world: World;
  readonly logger: Logger;
  readonly link: LinkParts | undefined;
  readonly observation: Observation;
  readonly service: ServiceManager;
}): Promise<void> {
  const { starting, world, logger, link, observation, service } = options;
  const { promise: second, resolve: stopAtOnce } = Promise.withResolvers<void>();
  const { promise: first, resolve: drain } = Promise.withResolvers<void>();
  let signals = 0;
  const unlisten = world.onStopSignal((signal) => {
    signals++;
    if (signals === 1) {
      const drainSeconds = options.drainSeconds();
      service.stopping(drainSeconds);
      logger.info(
        { signal, drainSeconds },
        "Waiting until the last allocation has ended; a second signal stops at once",
      );
      drain();
      link?.stopWaiting();
      observation.setDraining();
    } else if (signals === 2) {
      logger.info({ signal }, "Stopping at once");
      stopAtOnce();
    } else {
      world.exitNow(1);
    }
  });
  try {
    const { relay } = await starting;
    await first;
    const drainSeconds = options.drainSeconds();
    const drained = relay.drain();
    link?.announceDrain();
    const isDrained = await untilDrained({ drained, second, timeoutMs: drainSeconds * 1000 });
    if (!isDrained) {
      const { allocations } = relay.stats();
      logger.info({ drainSeconds, allocations }, "The time to drain is over: what is left is ended");
    }
    await relay.stop();
    logger.debug({ stats: relay.stats() }, "What the relay has done");
  } finally {
    unlisten();
  }
}

/** False if the time was over before. */
async function untilDrained(options: {
  readonly drained: Promise<void>;
  readonly second: Promise<void>;
  readonly timeoutMs: number;
}): Promise<boolean> {
  const { promise: late, resolve } = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => resolve(false), options.timeoutMs);
  try {
    return await Promise.race([options.drained.then(() => true), options.second.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}
