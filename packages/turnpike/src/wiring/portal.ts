import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { CredentialCache, CredentialVerifier } from "@turnpike/authn";
import { Penalties, type PenaltiesOptions } from "@turnpike/authn/penalties";
import type { Portal, PortalSignatureKey } from "@turnpike/portal";
import type { Telemetry } from "@turnpike/relay/telemetry";
import type { ConfiguredExternalAuth } from "../config/external-auth-files.ts";
import type { Configuration } from "../config/schema.ts";
import { CommandError } from "../errors.ts";
import type { Logger } from "../log.ts";
import type { World } from "../world.ts";
import { penaltiesOf } from "./relay-options.ts";

/** Starts the portal that the configuration describes. @throws CommandError if it can't be started */
export async function openPortal(options: {
  readonly configuration: Configuration;
  /** Where metrics and traces go. Default: nowhere. */
  readonly telemetry: Telemetry | undefined;
  /** Who checks passwords. Default: the portal alone. */
  readonly externalAuth: ConfiguredExternalAuth | undefined;
  /** What requests are signed with. */
  readonly signatureKeys: readonly PortalSignatureKey[];
  readonly world: World;
  readonly logger: Logger;
}): Promise<Portal> {
  const { configuration, signatureKeys, world, logger } = options;
  const { portal } = configuration;
  let external: OpenedExternalAuth | undefined;
  try {
    // A relay alone pays nothing for it at its start.
    const { startPortal } = await import("@turnpike/portal");
    external = await openExternalAuth(options);
    const started = await startPortal({
      store: portal.store ?? join(dataDirectory(configuration, world), "turnpike.db"),
      listen: portal.listen,
      logger,
      version: world.version,
      penalties: new Penalties(penaltiesOf(configuration.penalties) || NO_PENALTIES),
      ...(options.telemetry === undefined ? {} : { telemetry: options.telemetry }),
      schemes: configuration.authn.schemes_external,
      issuers: (configuration.authn.bearer ?? []).map(({ issuer, audience, jwks, user_claim: userClaim }) => ({
        issuer,
        audience,
        userClaim,
        ...(jwks === undefined ? {} : { jwksUri: jwks }),
      })),
      signatureKeys,
      ...(external === undefined ? {} : { verifier: external.verifier, cache: external.cache }),
      ...(configuration.quota.user === undefined ? {} : { defaultMaxAllocations: configuration.quota.user }),
      trustProxy: portal.trusted_proxies,
      auditDays: portal.audit_days,
      ...(portal.fleet === undefined ? {} : { fleet: portal.fleet }),
      ...(portal.public_url === undefined ? {} : { publicUrl: portal.public_url }),
    });
    return {
      ...started,
      async stop() {
        await started.stop();
        await external?.close();
      },
    };
  } catch (error) {
    await external?.close();
    const isConfiguration = error instanceof TypeError || error instanceof RangeError;
    throw new CommandError(messageOf(error, portal.listen), { exitCode: isConfiguration ? 2 : 1, cause: error });
  }
}

const NO_PENALTIES: PenaltiesOptions = {
  delay: { kind: "constant", minSeconds: 0, maxSeconds: 0 },
  automaticBan: false,
};

interface OpenedExternalAuth {
  readonly verifier: CredentialVerifier;
  readonly cache: CredentialCache;
  close(): Promise<void>;
}

/** Who checks passwords; what one portal of a fleet is told to forget, all forget. */
async function openExternalAuth(options: {
  readonly configuration: Configuration;
  readonly externalAuth: ConfiguredExternalAuth | undefined;
  readonly logger: Logger;
}): Promise<OpenedExternalAuth | undefined> {
  const { configuration, externalAuth, logger } = options;
  if (externalAuth === undefined) return undefined;
  const { fleet } = configuration.portal;
  // Loaded only where it is used.
  const { createExternalVerifier } = await import("@turnpike/authn/external");
  const flushBus =
    fleet === undefined ? undefined : new (await import("@turnpike/portal")).RedisFlushBus({ url: fleet, logger });
  try {
    const made = await createExternalVerifier({ ...externalAuth, ...(flushBus === undefined ? {} : { flushBus }) });
    return {
      verifier: made.verifier,
      cache: made.cache,
      async close() {
        await made.close();
        flushBus?.close();
      },
    };
  } catch (error) {
    flushBus?.close();
    throw error;
  }
}

/** Waits for a signal. A second one ends the process. */
export async function untilSignal(world: World): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let signals = 0;
  world.onStopSignal(() => {
    signals++;
    if (signals > 1) world.exitNow(1);
    resolve();
  });
  await promise;
}

/** The directory of the portal's files (XDG Base Directory), made if it is missing and closed to others. */
function dataDirectory(configuration: Configuration, world: World): string {
  const { XDG_DATA_HOME: data, HOME: home } = world.environment;
  const directory =
    configuration.portal.data_dir ??
    (data ? join(data, "turnpike") : home ? join(home, ".local", "share", "turnpike") : undefined);
  if (directory === undefined) {
    throw new TypeError("There is no data directory: name one by --data-dir, or the database by --store");
  }
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  return directory;
}

function messageOf(error: unknown, listen: string): string {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (code === "EADDRINUSE") {
    return `the portal can't listen on ${listen}: the port is taken; choose another by --portal-listen`;
  }
  return `the portal can't be started: ${reasonOf(error)}`;
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
