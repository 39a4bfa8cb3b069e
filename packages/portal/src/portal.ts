import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { OperationContext, printable, silentLogger, systemClock } from "@turnpike/authn";
import { createServices, relayDoor } from "./create-services.ts";
import { NotFoundError } from "./errors.ts";
import { type FleetState, MemoryFleetState } from "./fleet/fleet-state.ts";
import { openRedisFleetState } from "./fleet/redis-fleet-state.ts";
import { RelayEndpoint } from "./fleet/relay-endpoint.ts";
import type { RegisteredRoute } from "./http/access.ts";
import { createApp, openApiDocument } from "./http/app.ts";
import type { App } from "./http/routes-types.ts";
import type { FirstStart, Portal, PortalOptions } from "./portal-options.ts";
import { startTimers } from "./regular-tasks.ts";
import type { Services } from "./services.ts";
import { claimOnce, createSignInCode } from "./store/settings.ts";
import { openStore } from "./store/store.ts";

const DEFAULT_LISTEN = "127.0.0.1:8080";
const DEFAULT_AUDIT_DAYS = 365;
const MAX_AUDIT_DAYS = 36_500;
const MINT_ATTEMPTS = 100;
const MINT_PAUSE_MS = 20;

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
  const { auditDays = DEFAULT_AUDIT_DAYS } = options;
  if (!(auditDays >= 0 && auditDays <= MAX_AUDIT_DAYS)) {
    throw new RangeError(`Cannot keep the audit log for ${auditDays} days: 0 (for ever) to ${MAX_AUDIT_DAYS} can be`);
  }
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
    return await run({ ctx, services, app, routes, endpoint, publicUrl, life, auditDays });
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

async function run(parts: {
  readonly ctx: OperationContext;
  readonly services: Services;
  readonly app: App;
  readonly routes: readonly RegisteredRoute[];
  readonly endpoint: RelayEndpoint;
  readonly publicUrl: URL | undefined;
  readonly life: { isServing: boolean };
  readonly auditDays: number;
}): Promise<Portal> {
  const { ctx, services, app, routes, endpoint, life } = parts;
  const { store, users, tokens, relays, relayTokens } = services;
  const address = app.server.address();
  if (address === null || typeof address === "string") throw new TypeError("The portal has no address");
  const host = address.family === "IPv6" ? `[${address.address}]` : address.address;
  const url = parts.publicUrl?.origin ?? `http://${host}:${address.port}`;
  const createSignInUrl = async (asking: OperationContext, userId: string): Promise<string> => {
    const user = await users.find(asking, userId);
    if (user?.kind !== "user" || user.disabled) {
      throw new NotFoundError(`There is no user ${JSON.stringify(userId)} who may sign in.`);
    }
    return `${url}/sign-in#${await createSignInCode(asking, store, userId)}`;
  };
  const stopTimers = startTimers(services, { auditDays: parts.auditDays });
  services.telemetry.observe({
    linkedRelays: () => services.registry.ids.length,
    eventStreams: () => services.streams.open,
    isFleetWhole: () => services.fleet.isWhole,
  });

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
