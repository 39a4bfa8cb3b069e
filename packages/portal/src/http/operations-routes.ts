import { z } from "zod";
import { NotFoundError, UnavailableError } from "../errors.ts";
import type { CredentialCache, OperationContext } from "@turnpike/authn";
import type { Services } from "../services.ts";
import { listAudit } from "../store/audit.ts";
import { contextOf } from "./access.ts";
import { type App, GUARDED, needs, open, problems, timeOf } from "./routes-types.ts";
import { auditEntry, cacheChangesBody, cacheState, flushResponse } from "./schemas.ts";

/** The cache before external passwords, the audit log, and how the portal is. */
export function operationsRoutes(app: App, services: Services): void {
  cacheRoutes(app, services);

  app.get("/v1/audit", {
    ...needs("audit.read"),
    schema: {
      operationId: "listAudit",
      summary: "Every change that was made, newest first",
      tags: ["operations"],
      querystring: z.object({
        before: z.coerce.number().int().min(1).max(Number.MAX_SAFE_INTEGER).optional(),
        limit: z.coerce.number().int().min(1).max(1_000).default(100),
      }),
      response: { 200: z.object({ entries: z.array(auditEntry) }), ...GUARDED },
    },
    handler: async (request) => {
      const entries = await listAudit(contextOf(request), services.store, request.query);
      return {
        entries: entries.map(({ atUnixMs, details, ...entry }) => ({
          ...entry,
          details: { ...details },
          at: timeOf(atUnixMs),
        })),
      };
    },
  });

  const storeAnswers = oncePerSecond(async (ctx: OperationContext) => {
    try {
      await services.store.reader(ctx).selectFrom("settings").select("key").limit(1).execute();
      return true;
    } catch {
      return false;
    }
  });

  app.get("/healthz", {
    config: { ...open("says only that the process lives").config, rateLimit: false },
    schema: {
      operationId: "healthz",
      summary: "Whether the portal is alive",
      tags: ["operations"],
      security: [],
      response: { 200: z.object({ status: z.literal("alive") }), ...problems() },
    },
    handler: () => Promise.resolve({ status: "alive" as const }),
  });

  app.get("/readyz", {
    config: { ...open("says only whether the process serves").config, rateLimit: false },
    schema: {
      operationId: "readyz",
      summary: "Whether the portal serves: its store answers, and it doesn't stop",
      tags: ["operations"],
      security: [],
      response: { 200: z.object({ status: z.literal("ready"), fleet: z.enum(["whole", "partial"]) }), ...problems() },
    },
    handler: async (request) => {
      if (!services.isServing()) throw new UnavailableError("The portal is stopping.");
      if (!(await storeAnswers(contextOf(request)))) throw new UnavailableError("The store does not answer.");
      return { status: "ready" as const, fleet: services.fleet.isWhole ? ("whole" as const) : ("partial" as const) };
    },
  });
}

/** Everybody may ask whether the portal is ready, as often as they like: the store is asked once a second. */
function oncePerSecond<Argument, Answer>(ask: (argument: Argument) => Promise<Answer>) {
  let last: { readonly answer: Promise<Answer>; readonly atMs: number } | undefined;
  return (argument: Argument): Promise<Answer> => {
    const nowMs = performance.now();
    if (last === undefined || nowMs - last.atMs >= 1_000) last = { answer: ask(argument), atMs: nowMs };
    return last.answer;
  };
}

function cacheRoutes(app: App, { cache }: Services): void {
  const tags = ["external authentication"];
  const there = (): CredentialCache => {
    if (cache === undefined) throw new NotFoundError("No external authentication is configured.");
    return cache;
  };

  app.get("/v1/external-auth/cache", {
    ...needs("cache.read"),
    schema: {
      operationId: "getCache",
      summary: "Look at the cache before the external authentication",
      tags,
      response: { 200: cacheState, ...problems(401, 403, 404) },
    },
    handler: (request) => Promise.resolve(stateOf(there(), contextOf(request))),
  });

  app.patch("/v1/external-auth/cache", {
    ...needs("cache.write"),
    schema: {
      operationId: "configureCache",
      summary: "Change the cache while it is in use, until the next start",
      tags,
      body: cacheChangesBody,
      response: { 200: cacheState, ...problems(401, 403, 404, 413, 415) },
    },
    handler: (request) => {
      const ctx = contextOf(request);
      const found = there();
      const { enabled, expirySeconds, size } = request.body;
      found.configure(ctx, {
        ...(enabled === undefined ? {} : { enabled }),
        ...(expirySeconds === undefined ? {} : { expirySeconds }),
        ...(size === undefined ? {} : { size }),
      });
      return Promise.resolve(stateOf(found, ctx));
    },
  });

  app.delete("/v1/external-auth/cache", {
    ...needs("cache.write"),
    schema: {
      operationId: "flushCache",
      summary: "Forget everybody, in the whole fleet",
      tags,
      response: { 200: flushResponse, ...problems(401, 403, 404) },
    },
    handler: async (request) => {
      const { removed, fleet } = await there().flush(contextOf(request));
      return { removed, fleet: fleet.kind };
    },
  });

  app.delete("/v1/external-auth/cache/:user", {
    ...needs("cache.write"),
    schema: {
      operationId: "flushCacheOfUser",
      summary: "Forget one user, in every spelling, in the whole fleet",
      tags,
      params: z.object({ user: z.string().min(1).max(508) }),
      response: { 200: flushResponse, ...problems(401, 403, 404) },
    },
    handler: async (request) => {
      const { removed, fleet } = await there().flush(contextOf(request), { username: request.params.user });
      return { removed, fleet: fleet.kind };
    },
  });
}

function stateOf(cache: CredentialCache, ctx: Parameters<CredentialCache["inspect"]>[0]): z.input<typeof cacheState> {
  const { settings, entries, ...statistics } = cache.inspect(ctx);
  const { enabled, expirySeconds, size } = settings;
  return { enabled, expirySeconds, size, entries, statistics: { ...statistics } };
}
