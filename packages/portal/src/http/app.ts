import { randomUUID } from "node:crypto";
import helmet from "@fastify/helmet";
import rateLimit from "@fastify/rate-limit";
import swagger from "@fastify/swagger";
import { addressPrefixOf } from "@turnpike/authn";
import { fastify } from "fastify";
import {
  jsonSchemaTransform,
  jsonSchemaTransformObject,
  serializerCompiler,
  validatorCompiler,
  type ZodTypeProvider,
} from "fastify-type-provider-zod";
import type { Services } from "../services.ts";
import { guardRoutes, type RegisteredRoute } from "./access.ts";
import { credentialRoutes } from "./credential-routes.ts";
import { eventRoutes } from "./event-routes.ts";
import { fleetRoutes } from "./fleet-routes.ts";
import { operationsRoutes } from "./operations-routes.ts";
import { pageRoutes } from "./page-routes.ts";
import { problemOf, sendProblem } from "./problem.ts";
import { type App, open } from "./routes-types.ts";
import { sessionRoutes } from "./session-routes.ts";
import { signInRoutes } from "./sign-in-routes.ts";
import { tokenRoutes } from "./token-routes.ts";
import { userRoutes } from "./user-routes.ts";

/** What {@link createApp} may be told. */
export interface AppOptions {
  /** Whether browsers come by https: they are then told to stay with it. */
  readonly isSecure: boolean;
  /** Whose forwarding fields are believed: addresses or prefixes. Default: nobody's. */
  readonly trustProxy?: readonly string[] | undefined;
  /** Requests that one network (IPv4 address, IPv6 /64) may make in a minute. Default 600. */
  readonly requestsPerMinute?: number | undefined;
  readonly version: string;
}

const MAX_BODY_BYTES = 65_536;

/** The HTTP server of a portal, with all routes. */
export async function createApp(
  services: Services,
  { isSecure, trustProxy, requestsPerMinute = 600, version }: AppOptions,
): Promise<{ readonly app: App; readonly routes: readonly RegisteredRoute[] }> {
  const app = fastify({
    logger: false,
    genReqId: () => randomUUID(),
    requestIdHeader: false,
    trustProxy: trustProxy === undefined ? false : [...trustProxy],
    bodyLimit: MAX_BODY_BYTES,
    requestTimeout: 30_000,
    connectionTimeout: 0,
    keepAliveTimeout: 65_000,
    exposeHeadRoutes: false,
    forceCloseConnections: true,
    routerOptions: { maxParamLength: 1_024, ignoreTrailingSlash: false },
    http: { maxHeaderSize: 16_384, headersTimeout: 10_000 },
    frameworkErrors: (error, request, reply) => {
      const { problem } = problemOf(error, request.id);
      void sendProblem(reply, problem);
    },
  }).withTypeProvider<ZodTypeProvider>();
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  takeJsonOnly(app);
  answerErrors(app, services);
  logRequests(app, services);
  measureRequests(app, services);

  await app.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: {
        title: "Turnpike portal",
        version,
        description: "The control plane of a fleet of TURN relays. Errors are problem details (RFC 9457).",
        license: { name: "Apache-2.0", identifier: "Apache-2.0" },
      },
      servers: [{ url: "/" }],
      tags: ["credentials", "fleet", "events", "identity", "external authentication", "operations"].map((name) => ({
        name,
      })),
    },
    transform: jsonSchemaTransform,
    transformObject: jsonSchemaTransformObject,
  });
  await app.register(helmet, {
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'none'"],
        scriptSrc: ["'self'"],
        styleSrc: ["'self'"],
        imgSrc: ["'self'", "data:"],
        connectSrc: ["'self'"],
        baseUri: ["'none'"],
        formAction: ["'self'"],
        frameAncestors: ["'none'"],
      },
    },
    referrerPolicy: { policy: "no-referrer" },
    hsts: isSecure ? { maxAge: 31_536_000, includeSubDomains: false } : false,
    crossOriginResourcePolicy: { policy: "same-origin" },
  });
  const routes = guardRoutes(app, services.gate);
  await app.register(rateLimit, {
    max: requestsPerMinute,
    timeWindow: "1 minute",
    cache: 20_000,
    keyGenerator: (request) => addressPrefixOf(request.ip),
    errorResponseBuilder: (_request, { ttl }) =>
      Object.assign(new Error(`There were too many requests. Try again in ${Math.ceil(ttl / 1_000)} s.`), {
        statusCode: 429,
      }),
  });
  await app.register(
    // Within a plugin of its own, so that the rate limit's hook stands before it.
    (scope: App, _options: object, done: () => void) => {
      credentialRoutes(scope, services);
      fleetRoutes(scope, services);
      eventRoutes(scope, services);
      sessionRoutes(scope, services);
      tokenRoutes(scope, services);
      userRoutes(scope, services);
      signInRoutes(scope, services);
      operationsRoutes(scope, services);
      pageRoutes(scope);
      scope.get("/openapi.json", {
        config: open("says what stands in the documentation").config,
        schema: { hide: true },
        handler: () => Promise.resolve(openApiDocument(app, services)),
      });
      done();
    },
  );
  await app.ready();
  return { app, routes };
}

/** What the routes' schemas say, and how one proves who one is. */
export function openApiDocument(app: App, { gate }: Services): Readonly<Record<string, unknown>> {
  const document = app.swagger();
  const components = "components" in document ? document.components : {};
  return {
    ...document,
    components: { ...components, securitySchemes: gate.openApiSecuritySchemes },
    security: gate.openApiSecurity,
  };
}

/** Bodies are JSON, and kept as they came for signatures that cover them. */
function takeJsonOnly(app: App): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("application/json", { parseAs: "buffer" }, (request, body: Buffer, done) => {
    request.rawBody = body;
    if (body.length === 0) {
      done(null, undefined);
      return;
    }
    try {
      const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body), withoutPrototypes);
      done(null, value);
    } catch {
      done(Object.assign(new Error("The body is not JSON."), { statusCode: 400 }), undefined);
    }
  });
}

function withoutPrototypes(key: string, value: unknown): unknown {
  return key === "__proto__" ? undefined : value;
}

function answerErrors(app: App, { logger }: Services): void {
  app.setErrorHandler((error, request, reply) => {
    const { problem, headers, isOurs } = problemOf(error, request.id);
    if (isOurs) {
      const text = error instanceof Error ? (error.stack ?? error.message) : "unknown error";
      logger.error({ requestId: request.id, route: request.routeOptions.url, error: text }, "A request failed");
    }
    for (const [name, value] of Object.entries(headers)) reply.header(name, value);
    return sendProblem(reply, problem);
  });
  app.setNotFoundHandler((_request, reply) =>
    sendProblem(reply, {
      status: 404,
      title: "Not Found",
      detail: "There is nothing here. /openapi.json says what there is.",
    }),
  );
}

/** The route, not the URL: that may hold what no log should. */
function logRequests(app: App, { logger }: Services): void {
  app.addHook("onResponse", async (request, reply) => {
    const fields = {
      requestId: request.id,
      method: request.method,
      route: request.routeOptions.url ?? "none",
      status: reply.statusCode,
      ms: Math.round(reply.elapsedTime),
    };
    logger.debug(fields, "request");
  });
}

/** Streams of events, and questions whether it lives, are nothing to measure or trace. */
const UNMEASURED: ReadonlySet<string | undefined> = new Set(["/v1/events", "/healthz", "/readyz"]);

function measureRequests(app: App, { telemetry }: Services): void {
  const spans = new WeakMap<object, ReturnType<typeof telemetry.startRequest>>();
  app.addHook("onRequest", async (request) => {
    const { method } = request;
    const { url: route } = request.routeOptions;
    if (!UNMEASURED.has(route)) spans.set(request, telemetry.startRequest({ method, route }));
  });
  app.addHook("onResponse", async (request, reply) => {
    const { method } = request;
    const { url: route } = request.routeOptions;
    if (UNMEASURED.has(route)) return;
    const { statusCode: status, elapsedTime } = reply;
    telemetry.endRequest(spans.get(request), { method, route, status, seconds: elapsedTime / 1_000 });
  });
}
