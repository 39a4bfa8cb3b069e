import { randomInt } from "node:crypto";
import {
  AccessTokens,
  BasicScheme,
  type Clock,
  HttpGate,
  type HttpScheme,
  type Logger,
  OperationContext,
  Penalties,
  Sessions,
} from "@turnpike/authn";
import { bearerOf, signaturesOf } from "./access/named-schemes.ts";
import { UserVerifier } from "./access/user-verifier.ts";
import { regionsByPrefix } from "./fleet/choose-relays.ts";
import { publishDecision } from "./fleet/decision-events.ts";
import type { FleetState } from "./fleet/fleet-state.ts";
import { OutboxTail } from "./fleet/outbox-tail.ts";
import { RelayRegistry } from "./fleet/relay-registry.ts";
import { Minter } from "./minter.ts";
import type { PortalOptions, PortalScheme } from "./portal-options.ts";
import type { Services } from "./services.ts";
import { Credentials } from "./store/credentials.ts";
import { Relays } from "./store/relays.ts";
import { SessionStore } from "./store/session-store.ts";
import { FleetSecrets } from "./store/fleet-secrets.ts";
import type { Store } from "./store/store.ts";
import { TokenStore } from "./store/token-store.ts";
import { Users } from "./store/users.ts";
import { PortalTelemetry } from "./telemetry/portal-telemetry.ts";

/** Everything that routes work with, from a portal's options. */
export async function createServices(parts: {
  readonly options: PortalOptions;
  readonly store: Store;
  readonly fleet: FleetState;
  readonly portalId: string;
  readonly publicUrl: URL | undefined;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly life: { readonly isServing: boolean };
}): Promise<Services> {
  const { options, store, fleet, portalId, publicUrl, logger, clock, life } = parts;
  const ctx = OperationContext.internal("portal-start", { logger });
  const telemetry = new PortalTelemetry(options.telemetry);
  const users = new Users(store);
  const credentials = new Credentials(store);
  const tokenStore = new TokenStore(store);
  const tokens = new AccessTokens({ store: tokenStore, prefix: "tp_", clock });
  const relayTokens = new AccessTokens({ store: tokenStore, prefix: "tr_", clock });
  const sessions = new Sessions({
    store: new SessionStore(store),
    secure: publicUrl?.protocol === "https:",
    clock,
    ...(publicUrl === undefined ? {} : { origins: [publicUrl.origin] }),
  });
  const penalties = options.penalties ?? new Penalties({ clock });
  const verifier = options.verifier && new UserVerifier({ verifier: options.verifier, users });
  const schemeOf = (scheme: PortalScheme): HttpScheme => {
    if (typeof scheme !== "string") return scheme;
    switch (scheme) {
      case "session-cookie":
        return sessions;
      case "access-token":
        return tokens;
      case "bearer":
        return bearerOf(options.issuers ?? [], { store, clock });
      case "http-signature":
        return signaturesOf(options.signatureKeys ?? [], { store, clock });
      default:
        if (verifier === undefined) throw new TypeError('Cannot configure the scheme "basic" without a verifier');
        return new BasicScheme({ verifier });
    }
  };
  const gate = new HttpGate({
    name: "portal-api",
    schemes: (options.schemes ?? ["session-cookie", "access-token"]).map(schemeOf),
    penalties,
    logger,
    clock,
    onDecision: (event) => {
      telemetry.countAuthentication(
        event.decision.kind,
        "scheme" in event.decision ? event.decision.scheme : undefined,
      );
      publishDecision(fleet, event);
    },
  });
  const fleetSecrets = new FleetSecrets(store);
  await fleetSecrets.prepare(ctx);
  const unixMs = (): number => clock.unixMs();
  const registry = new RelayRegistry({
    fleet,
    credentials,
    users,
    portalId,
    fleetSecrets,
    telemetry,
    unixMs,
    defaultMaxAllocations: options.defaultMaxAllocations,
  });
  const tail = new OutboxTail(OperationContext.internal("outbox", { logger }), {
    store,
    deliver: (entry) => {
      telemetry.countOrder(entry.message.event);
      registry.deliver(entry);
    },
  });
  fleet.onPoke(() => void tail.poke());
  const minter = new Minter({
    fleet,
    credentials,
    fleetSecrets,
    telemetry,
    unixMs,
    random: () => randomInt(2 ** 32) / 2 ** 32,
    maxTtlSeconds: options.maxTtlSeconds,
    relaysPerClient: options.relaysPerClient,
    ...(options.regions === undefined ? {} : { regionOf: regionsByPrefix(options.regions) }),
  });
  return {
    portalId,
    store,
    users,
    relays: new Relays(store),
    credentials,
    fleetSecrets,
    sessions,
    tokens,
    relayTokens,
    gate,
    penalties,
    fleet,
    registry,
    tail,
    minter,
    verifier,
    cache: options.cache,
    telemetry,
    streams: { open: 0 },
    logger,
    isServing: () => life.isServing,
  };
}

/** Relays come through a door of their own: a session or a token of the API opens nothing there. */
export function relayDoor(services: Services, fleet: FleetState): { readonly gate: HttpGate } {
  const { relayTokens, penalties, telemetry, logger } = services;
  return {
    gate: new HttpGate({
      name: "relay-link",
      schemes: [relayTokens],
      penalties,
      logger,
      onDecision: (event) => {
        if (event.decision.kind !== "failed") return;
        telemetry.countAuthentication("failed", event.decision.scheme);
        publishDecision(fleet, event);
      },
    }),
  };
}
