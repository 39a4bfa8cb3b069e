import { fromFastifyRequest, type HttpGate, OperationContext, replyRejection } from "@turnpike/authn";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { authorize, type Permission } from "../access/roles.ts";

/** Who may come to a route. Every route says it. */
export type Access =
  /** Everybody. `why` stands for the reader. */
  | { readonly kind: "public"; readonly why: string }
  /** Whoever has that permission. */
  | { readonly kind: "permission"; readonly permission: Permission };

declare module "fastify" {
  interface FastifyContextConfig {
    access?: Access;
    /** Where the token stands in the query, for a form of request that others fixed. */
    tokenParameter?: string;
  }
  interface FastifyRequest {
    operation: OperationContext | null;
    rawBody: Buffer | null;
  }
}

/** A route, as it was registered. */
export interface RegisteredRoute {
  readonly method: string;
  readonly url: string;
  readonly access: Access;
}

/** On whose behalf a request is handled. */
export function contextOf(request: FastifyRequest): OperationContext {
  OperationContext.assert(request.operation);
  return request.operation;
}

/** Puts the door before every route, and refuses routes that don't say who may come. @returns the routes */
export function guardRoutes(app: FastifyInstance, gate: HttpGate): readonly RegisteredRoute[] {
  const routes: RegisteredRoute[] = [];
  app.addHook("onRoute", ({ method, url, config }) => {
    const access = config?.access;
    if (access === undefined) throw new TypeError(`Cannot serve ${String(method)} ${url}: it doesn't say who may come`);
    for (const each of [method].flat()) routes.push({ method: each, url, access });
  });
  app.decorateRequest("operation", null);
  app.decorateRequest("rawBody", null);
  app.addHook("onRequest", async (request, reply) => {
    // A signature covers the body, which must be there first.
    if (request.headers["signature-input"] === undefined) return admit(request, reply, gate);
  });
  app.addHook("preValidation", async (request, reply) => {
    if (request.operation === null && !reply.sent) return admit(request, reply, gate);
  });
  return routes;
}

async function admit(request: FastifyRequest, reply: FastifyReply, gate: HttpGate): Promise<FastifyReply | undefined> {
  const { access, tokenParameter } = request.routeOptions.config;
  if (access === undefined || access.kind === "public") {
    request.operation = OperationContext.internal("public-request", { requestId: request.id });
    return undefined;
  }
  const gone = new AbortController();
  request.raw.once("close", () => {
    if (request.raw.destroyed && !request.raw.complete) gone.abort();
  });
  const body = request.rawBody === null ? {} : { body: request.rawBody };
  const plain = fromFastifyRequest(request, body);
  const asking = tokenParameter === undefined ? plain : withQueryToken(plain, request.query, tokenParameter);
  const admission = await gate.admit(asking, { requestId: request.id, signal: gone.signal });
  if (admission.kind === "aborted") return reply.hijack();
  if (admission.kind === "rejected") {
    return replyRejection(reply.serializer(String), admission.rejection);
  }
  authorize(admission.context, access.permission);
  request.operation = admission.context;
  return undefined;
}

function withQueryToken(
  request: ReturnType<typeof fromFastifyRequest>,
  query: unknown,
  parameter: string,
): ReturnType<typeof fromFastifyRequest> {
  const target = request.target.split("?")[0] ?? "/";
  const token: unknown =
    typeof query === "object" && query !== null ? Object.entries(query).find(([name]) => name === parameter)?.[1] : "";
  if (typeof token !== "string" || token === "" || request.headers["authorization"] !== undefined) {
    return { ...request, target };
  }
  return { ...request, target, headers: { ...request.headers, authorization: `Bearer ${token}` } };
}
