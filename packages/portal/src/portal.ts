import { randomBytes, randomInt } from "node:crypto";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import {
  AccessTokens,
  BasicScheme,
  type Clock,
  type CredentialCache,
  type CredentialVerifier,
  type DecisionEvent,
  HttpGate,
  type HttpScheme,
  type Logger,
  OperationContext,
  Penalties,
  printable,
  Sessions,
  silentLogger,
  systemClock,
} from "@turnpike/authn";
import { UserVerifier } from "./access/user-verifier.ts";
import { type FleetState, MemoryFleetState } from "./fleet/fleet-state.ts";
import { OutboxTail } from "./fleet/outbox-tail.ts";
import { openRedisFleetState } from "./fleet/redis-fleet-state.ts";
import { RelayEndpoint } from "./fleet/relay-endpoint.ts";
import { RelayRegistry } from "./fleet/relay-registry.ts";
import { regionsByPrefix } from "./fleet/choose-relays.ts";
import type { RegisteredRoute } from "./http/access.ts";
import { createApp, openApiDocument } from "./http/app.ts";
import type { App } from "./http/routes-types.ts";
import { type Minted, Minter } from "./minter.ts";
import type { Services } from "./services.ts";
import { Credentials } from "./store/credentials.ts";
import { trimOutbox } from "./store/outbox.ts";
import { Relays } from "./store/relays.ts";
import { SessionStore } from "./store/session-store.ts";
import { claimOnce, createSignInCode, fleetSecret } from "./store/settings.ts";
import { openStore, type Store } from "./store/store.ts";
import { TokenStore } from "./store/token-store.ts";
import { Users } from "./store/users.ts";

/** A scheme for the API, by its name in the configuration, or one that was made elsewhere. */
export type PortalScheme = "session-cookie" | "access-token" | "basic" | HttpScheme;

/** What {@link startPortal} takes. */
export interface PortalOptions {
  /** `postgres://…`, the path of a SQLite file, or `:memory:`. */
  readonly store: string;
  /** `ADDRESS:PORT`, `[ADDRESS]:PORT`; port 0 finds a free one. Default `127.0.0.1:8080`. */
  readonly listen?: string;
  /** `redis://…` that portals of one fleet share. Default: this portal is the only one. */
  readonly fleet?: string;
  /** How browsers reach it. Default: from `listen`, by http. */
  readonly publicUrl?: string;
  /** Of the API, in order of precedence. Default: `session-cookie`, `access-token`. */
  readonly schemes?: readonly PortalScheme[];
  /** Passwords that somebody else knows, for signing in and for the scheme `basic`. */
  readonly verifier?: CredentialVerifier;
  /** What is before them, for `/v1/external-auth/cache`. */
  readonly cache?: CredentialCache;
  /** Whose forwarding fields are believed: addresses or prefixes. Default: nobody's. */
  readonly trustProxy?: readonly string[];
  /** Requests that one network may make in a minute. Default 600. */
  readonly requestsPerMinute?: number;
  /** How long a credential can last, in seconds. Default a week. */
  readonly maxTtlSeconds?: number;
  /** How many relays a client is given. Default 2. */
  readonly relaysPerClient?: number;
  /** How many allocations a user may have at once who isn't told otherwise. Default: no limit. */
  readonly defaultMaxAllocations?: number;
  /** Regions by address prefix: `{ "192.0.2.0/24": "eu-west" }`. */
  readonly regions?: Readonly<Record<string, string>>;
  readonly penalties?: Penalties;
  readonly logger?: Logger;
  readonly clock?: Clock;
  /** Of the program, for the OpenAPI document. */
  readonly version?: string;
}

/** What the first start makes: to be shown once. */
export interface FirstStart {
  /** `tp_…` of the administrator. */
  readonly token: string;
  /** Signs the administrator in once, within an hour. */
  readonly signInUrl: string;
}

/** A running portal. */
export interface Portal {
  readonly url: string;
  readonly address: AddressInfo;
  readonly services: Services;
  readonly routes: readonly RegisteredRoute[];
  /** Present if this was the first start of its store. */
  readonly firstStart?: FirstStart;
  /** The OpenAPI document. */
  openApi(): unknown;
  /**
   * Registers a relay of that name if there is none, and makes a token that it links with: `tr_…`. `replace`: its other
   * tokens are good no more.
   */
  createRelayToken(ctx: OperationContext, name: string, options?: { readonly replace?: boolean }): Promise<string>;
  /** Mints as `POST /v1/credentials`, as soon as a relay with these URLs has told of itself. */
  mintFor(ctx: OperationContext, request: { readonly user: string; readonly urls: readonly string[] }): Promise<Minted>;
  /** A link that signs the user in once, within an hour. */
  createSignInUrl(ctx: OperationContext, userId: string): Promise<string>;
  /** Answers what is under way, lets the relays go, and closes the store. */
  stop(): Promise<void>;
}

const DEFAULT_LISTEN = "127.0.0.1:8080";
const MINT_ATTEMPTS = 100;
const MINT_PAUSE_MS = 20;
const CLEAN_UP_MS = 60_000;
const REFRESH_MS = 10_000;
const OUTBOX_MS = 3_600_000;

/**
 * Starts a portal.
 *
 * @throws TypeError or RangeError for a wrong configuration; Error if the store can't be opened or the address is in use
 * @example
 * const portal = await startPortal({ store: "turnpike.db" });
 * console.log(portal.url, portal.firstStart);
 */
export async function startPortal(options: PortalOptions): Promise<Portal> {
  const { logger = silentLogger, clock = systemClock } = options;
  const listen = parseListen(options.listen ?? DEFAULT_LISTEN);
  const publicUrl = options.publicUrl === undefined ? undefined : parsePublicUrl(options.publicUrl);
  const ctx = OperationContext.internal("portal-start", { logger });
  const store = await openStore({ location: options.store, clock });
  const portalId = randomBytes(6).toString("hex");
  const fleet: FleetState =
    options.fleet === undefined
      ? new MemoryFleetState()
      : openRedisFleetState({ url: options.fleet, portalId, logger });
  const life = { isServing: true };
  try {
    const services = await createServices({ options, store, fleet, portalId, publicUrl, logger, clock, life });
    const { app, routes } = await createApp(services, {
      isSecure: publicUrl?.protocol === "https:",
      version: options.version ?? "0.0.0",
      trustProxy: options.trustProxy,
      requestsPerMinute: options.requestsPerMinute,
    });
    const endpoint = new RelayEndpoint({
      ...relayDoor(services, fleet),
      registry: services.registry,
      relays: services.relays,
    });
    endpoint.attach(app.server);
    await services.tail.start();
    await app.listen(listen);
    return await run({ ctx, services, app, routes, endpoint, publicUrl, life });
  } catch (error) {
    await fleet.close();
    await store.close();
    throw error;
  }
}

/** The OpenAPI document of a portal with the default configuration: what `docs/openapi.json` holds. */
export async function describeApi(version: string): Promise<unknown> {
  const store = await openStore({ location: ":memory:" });
  const fleet = new MemoryFleetState();
  const services = await createServices({
    options: { store: ":memory:" },
    store,
    fleet,
    portalId: "none",
    publicUrl: undefined,
    logger: silentLogger,
    clock: systemClock,
    life: { isServing: true },
  });
  const { app } = await createApp(services, { isSecure: true, version });
  const document = openApiDocument(app, services);
  await app.close();
  await store.close();
  return document;
}

async function createServices(parts: {
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
    if (scheme !== "basic") return { "session-cookie": sessions, "access-token": tokens }[scheme];
    if (verifier === undefined) throw new TypeError('Cannot configure the scheme "basic" without a verifier');
    return new BasicScheme({ verifier });
  };
  const gate = new HttpGate({
    name: "portal-api",
    schemes: (options.schemes ?? ["session-cookie", "access-token"]).map(schemeOf),
    penalties,
    logger,
    clock,
    onDecision: (event) => publishDecision(fleet, event),
  });
  const fleetSecrets = [await fleetSecret(ctx, store)];
  const unixMs = (): number => clock.unixMs();
  const registry = new RelayRegistry({
    fleet,
    credentials,
    users,
    portalId,
    fleetSecrets,
    unixMs,
    defaultMaxAllocations: options.defaultMaxAllocations,
  });
  const tail = new OutboxTail(OperationContext.internal("outbox", { logger }), {
    store,
    deliver: (entry) => registry.deliver(entry),
  });
  fleet.onPoke(() => void tail.poke());
  const minter = new Minter({
    fleet,
    credentials,
    fleetSecrets,
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
    logger,
    isServing: () => life.isServing,
  };
}

/** Relays come through a door of their own: a session or a token of the API opens nothing there. */
function relayDoor(services: Services, fleet: FleetState): { readonly gate: HttpGate } {
  const { relayTokens, penalties, logger } = services;
  return {
    gate: new HttpGate({
      name: "relay-link",
      schemes: [relayTokens],
      penalties,
      logger,
      onDecision: (event) => {
        if (event.decision.kind === "failed") publishDecision(fleet, event);
      },
    }),
  };
}

async function run(parts: {
  readonly ctx: OperationContext;
  readonly services: Services;
  readonly app: App;
  readonly routes: readonly RegisteredRoute[];
  readonly endpoint: RelayEndpoint;
  readonly publicUrl: URL | undefined;
  readonly life: { isServing: boolean };
}): Promise<Portal> {
  const { ctx, services, app, routes, endpoint, life } = parts;
  const { store, users, tokens, relays, relayTokens } = services;
  const address = app.server.address();
  if (address === null || typeof address === "string") throw new TypeError("The portal has no address");
  const host = address.family === "IPv6" ? `[${address.address}]` : address.address;
  const url = parts.publicUrl?.origin ?? `http://${host}:${address.port}`;
  const createSignInUrl = async (asking: OperationContext, userId: string): Promise<string> =>
    `${url}/sign-in#${await createSignInCode(asking, store, userId)}`;
  const stopTimers = startTimers(services);

  const firstStart = async (): Promise<FirstStart | undefined> => {
    const first = OperationContext.internal("first-start", { logger: services.logger });
    if (!(await claimOnce(first, store, "first-start"))) return undefined;
    const roles = ["admin"] as const;
    await users.create(first, { id: "admin", kind: "user", name: "Administrator", roles });
    const actor = { kind: "user", id: "admin", roles } as const;
    const { token } = await tokens.create(first, { actor, label: "first start" });
    return { token: token.reveal(), signInUrl: await createSignInUrl(first, "admin") };
  };
  const made = await firstStart();
  ctx.logger.info({ url, portal: services.portalId }, "The portal is serving");
  let stopping: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    life.isServing = false;
    stopTimers();
    await endpoint.stop();
    await app.close();
    await services.tail.stop();
    await services.fleet.close();
    await store.close();
    ctx.logger.info({}, "The portal has stopped");
  };
  return {
    url,
    address,
    services,
    routes,
    ...(made === undefined ? {} : { firstStart: made }),
    openApi: () => openApiDocument(app, services),
    createSignInUrl,
    async createRelayToken(asking, name, { replace = false } = {}) {
      const relay = (await relays.findByName(asking, name)) ?? (await relays.create(asking, name));
      for (const { id } of replace ? await relayTokens.list(asking, { actorId: relay.id }) : []) {
        await relayTokens.revoke(asking, id);
      }
      const { token } = await relayTokens.create(asking, { actor: { kind: "relay", id: relay.id }, label: name });
      return token.reveal();
    },
    async mintFor(asking, { user, urls }) {
      for (let attempt = 0; attempt < MINT_ATTEMPTS; attempt++) {
        const linked = await services.fleet.relays();
        if (linked.some((relay) => urls.every((url) => relay.urls.includes(url)))) break;
        await delay(MINT_PAUSE_MS);
      }
      return services.minter.mint(asking, { user });
    },
    stop: () => (stopping ??= stop()),
  };
}

/** What is done now and then. What fails is done the next time. */
function startTimers(services: Services): () => void {
  const { store, sessions, credentials, registry, logger } = services;
  const ctx = OperationContext.internal("clean-up", { logger });
  const every = (ms: number, work: () => Promise<unknown>): NodeJS.Timeout => {
    const timer = setInterval(() => {
      work().catch((error: unknown) => {
        logger.warn({ error: error instanceof Error ? error.message : "unknown error" }, "A regular task failed");
      });
    }, ms);
    timer.unref();
    return timer;
  };
  const timers = [
    every(CLEAN_UP_MS, () => sessions.cleanUp(ctx)),
    every(CLEAN_UP_MS, () => credentials.cleanUp(ctx)),
    every(CLEAN_UP_MS, () => trimOutbox(ctx, store, OUTBOX_MS)),
    every(REFRESH_MS, () => registry.refresh()),
  ];
  return () => timers.forEach((timer) => clearInterval(timer));
}

/** Who came, and who couldn't: not the requests that brought nothing. */
function publishDecision(fleet: FleetState, event: DecisionEvent): void {
  const { decision, source, atUnixMs } = event;
  if (decision.kind !== "failed" && decision.kind !== "unavailable") return;
  const actor =
    decision.kind === "failed"
      ? decision.reason.kind === "badFormat"
        ? undefined
        : decision.reason.attemptedActor
      : decision.attemptedActor;
  void fleet.publish([
    {
      type: "portalAuthFailed",
      atUnixMs,
      reason: decision.kind === "failed" ? decision.reason.kind : "unavailable",
      ...(actor === undefined ? {} : { actor: printable(actor) }),
      details: {
        scheme: decision.scheme,
        ...(source.address === undefined ? {} : { client: source.address }),
        ...(source.operation === undefined ? {} : { operation: source.operation }),
      },
    },
  ]);
}

function parseListen(text: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3] ?? "x");
  if (match === null || !(port <= 65_535)) {
    throw new TypeError(`Cannot listen on "${printable(text)}": write it as 127.0.0.1:8080 or [::1]:8080`);
  }
  return { host: match[1] ?? match[2] ?? "", port };
}

function parsePublicUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== "https:" && url.protocol !== "http:") || url.pathname !== "/") {
    throw new TypeError(`Cannot use "${printable(text)}" as the public URL: write it as https://portal.example`);
  }
  return url;
}
