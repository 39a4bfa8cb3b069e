import { type ExternalActor, type OperationContext, Secret, sessionDetailsOf } from "@turnpike/authn";
import { z } from "zod";
import { authorize, mayDo } from "../access/roles.ts";
import { NotFoundError } from "../errors.ts";
import type { Services } from "../services.ts";
import type { User } from "../store/users.ts";
import { contextOf } from "./access.ts";
import { type App, GUARDED, needs, problems, timeOf } from "./routes-types.ts";
import {
  identifier,
  newTokenBody,
  newTokenResponse,
  newUserBody,
  session,
  token,
  user,
  userChangesBody,
  userId,
  whoami,
} from "./schemas.ts";

const tags = ["identity"];

/** Who is asking, tokens, sessions, users. Signing in has a file of its own. */
export function identityRoutes(app: App, services: Services): void {
  whoamiRoute(app);
  tokenRoutes(app, services);
  sessionRoutes(app, services);
  userRoutes(app, services);
}

function whoamiRoute(app: App): void {
  app.get("/v1/whoami", {
    ...needs("sessions.own"),
    schema: { operationId: "whoami", summary: "Who is asking", tags, response: { 200: whoami, ...GUARDED } },
    handler: (request) => {
      const { authentication } = contextOf(request);
      if (authentication?.kind !== "authenticated" || authentication.actor.kind === "relay") {
        throw new NotFoundError("Nobody is asking.");
      }
      const { actor, scheme, details } = authentication;
      const csrfToken = sessionDetailsOf(authentication)?.csrfToken;
      return Promise.resolve({
        kind: actor.kind,
        id: actor.id,
        ...("name" in actor && actor.name !== undefined ? { name: actor.name } : {}),
        roles: [...actor.roles],
        scheme,
        ...(details.expiresAtUnixMs === undefined ? {} : { expiresAt: timeOf(details.expiresAtUnixMs) }),
        ...(csrfToken === undefined ? {} : { csrfToken }),
      });
    },
  });
}

function tokenRoutes(app: App, { tokens, relayTokens, users }: Services): void {
  app.get("/v1/tokens", {
    ...needs("tokens.own"),
    schema: {
      operationId: "listTokens",
      summary: "List access tokens",
      description: "One's own; an administrator's list has all, those of relays too.",
      tags,
      response: { 200: z.object({ tokens: z.array(token) }), ...GUARDED },
    },
    handler: async (request) => {
      const ctx = contextOf(request);
      const filter = ownOrAll(ctx, "tokens.all");
      const relays = mayDo(ctx, "tokens.all") ? await relayTokens.list(ctx, filter) : [];
      const list = [...(await tokens.list(ctx, filter)), ...relays];
      return {
        tokens: list.map((each) => ({
          id: each.id,
          prefix: each.prefix,
          actor: labelOf(each.actor),
          label: each.label,
          createdAt: timeOf(each.createdAtUnixMs),
          ...(each.expiresAtUnixMs === undefined ? {} : { expiresAt: timeOf(each.expiresAtUnixMs) }),
          ...(each.lastUsedAtUnixMs === undefined ? {} : { lastUsedAt: timeOf(each.lastUsedAtUnixMs) }),
        })),
      };
    },
  });

  app.post("/v1/tokens", {
    ...needs("tokens.own"),
    schema: {
      operationId: "createToken",
      summary: "Make an access token",
      tags,
      body: newTokenBody,
      response: { 201: newTokenResponse, ...problems(401, 403, 404, 413, 415) },
    },
    handler: async (request, reply) => {
      const ctx = contextOf(request);
      const { label, user: forUser, lifetimeSeconds } = request.body;
      if (forUser !== undefined && forUser !== ctx.actor?.id) authorize(ctx, "tokens.all");
      const owner = await users.find(ctx, forUser ?? ctx.actor?.id ?? "");
      if (owner === undefined || owner.disabled) throw new NotFoundError(`There is no user "${forUser ?? ""}".`);
      const made = await tokens.create(ctx, {
        actor: actorOf(owner),
        label,
        ...(lifetimeSeconds === undefined ? {} : { lifetimeSeconds }),
      });
      return reply.code(201).send({ token: made.token.reveal(), id: made.accessToken.id });
    },
  });

  app.delete("/v1/tokens/:id", {
    ...needs("tokens.own"),
    schema: {
      operationId: "revokeToken",
      summary: "Revoke an access token",
      tags,
      params: z.object({ id: identifier }),
      response: { 204: z.null(), ...problems(401, 403, 404) },
    },
    handler: async (request, reply) => {
      const ctx = contextOf(request);
      const { id } = request.params;
      if (!mayDo(ctx, "tokens.all")) {
        const own = await tokens.list(ctx, ownOrAll(ctx, "tokens.all"));
        if (!own.some((each) => each.id === id)) throw new NotFoundError("There is no such token of yours.");
      }
      if (!(await tokens.revoke(ctx, id))) throw new NotFoundError("There is no such token.");
      return reply.code(204).send(null);
    },
  });
}

function sessionRoutes(app: App, { sessions }: Services): void {
  app.get("/v1/sessions", {
    ...needs("sessions.own"),
    schema: {
      operationId: "listSessions",
      summary: "List sessions of browsers",
      tags,
      response: { 200: z.object({ sessions: z.array(session) }), ...GUARDED },
    },
    handler: async (request) => {
      const ctx = contextOf(request);
      const current = ctx.authentication === undefined ? undefined : sessionDetailsOf(ctx.authentication)?.session.id;
      return {
        sessions: (await sessions.list(ctx, ownOrAll(ctx, "sessions.all"))).map((each) => ({
          id: each.id,
          actor: labelOf(each.actor),
          createdAt: timeOf(each.createdAtUnixMs),
          lastUsedAt: timeOf(each.lastUsedAtUnixMs),
          expiresAt: timeOf(each.expiresAtUnixMs),
          current: each.id === current,
        })),
      };
    },
  });

  app.delete("/v1/sessions/:id", {
    ...needs("sessions.own"),
    schema: {
      operationId: "endSession",
      summary: "End a session",
      tags,
      params: z.object({ id: identifier }),
      response: { 204: z.null(), ...problems(401, 403, 404) },
    },
    handler: async (request, reply) => {
      const ctx = contextOf(request);
      const { id } = request.params;
      const own = await sessions.list(ctx, ownOrAll(ctx, "sessions.all"));
      if (!own.some((each) => each.id === id) || !(await sessions.revoke(ctx, id))) {
        throw new NotFoundError("There is no such session of yours.");
      }
      return reply.code(204).send(null);
    },
  });

  app.delete("/v1/sessions", {
    ...needs("sessions.own"),
    schema: {
      operationId: "endSessions",
      summary: "End one's own sessions, but for this one",
      tags,
      response: { 200: z.object({ ended: z.int() }), ...GUARDED },
    },
    handler: async (request) => {
      const ctx = contextOf(request);
      const exceptId = ctx.authentication === undefined ? undefined : sessionDetailsOf(ctx.authentication)?.session.id;
      const actorId = ctx.actor?.id ?? "";
      return { ended: await sessions.revokeAll(ctx, { actorId, ...(exceptId === undefined ? {} : { exceptId }) }) };
    },
  });
}

function userRoutes(app: App, services: Services): void {
  const { users, tail, fleet } = services;
  const params = z.object({ id: userId });

  app.get("/v1/users", {
    ...needs("users.read"),
    schema: {
      operationId: "listUsers",
      summary: "List users",
      tags,
      response: { 200: z.object({ users: z.array(user) }), ...GUARDED },
    },
    handler: async (request) => ({ users: (await users.list(contextOf(request))).map(toUser) }),
  });

  app.get("/v1/users/:id", {
    ...needs("users.read"),
    schema: {
      operationId: "getUser",
      summary: "Look at a user",
      tags,
      params,
      response: { 200: user, ...problems(401, 403, 404) },
    },
    handler: async (request) => {
      const found = await users.find(contextOf(request), request.params.id);
      if (found === undefined) throw new NotFoundError(`There is no user "${request.params.id}".`);
      return toUser(found);
    },
  });

  app.post("/v1/users", {
    ...needs("users.write"),
    schema: {
      operationId: "createUser",
      summary: "Make a user",
      tags,
      body: newUserBody,
      response: { 201: user, ...problems(401, 403, 409, 413, 415) },
    },
    handler: async (request, reply) => {
      const ctx = contextOf(request);
      const { password, ...rest } = request.body;
      const made = await users.create(ctx, {
        ...rest,
        ...(password === undefined ? {} : { password: new Secret(password) }),
      });
      await tail.poke();
      await fleet.poke();
      return reply.code(201).send(toUser(made));
    },
  });

  app.patch("/v1/users/:id", {
    ...needs("users.write"),
    schema: {
      operationId: "changeUser",
      summary: "Change a user",
      description: "Who is disabled is signed out, and loses credentials and allocations.",
      tags,
      params,
      body: userChangesBody,
      response: { 200: user, ...problems(401, 403, 404, 409, 413, 415) },
    },
    handler: async (request) => {
      const ctx = contextOf(request);
      const { password, ...rest } = request.body;
      const secret = typeof password === "string" ? new Secret(password) : password;
      const changed = await users.update(ctx, request.params.id, { ...rest, password: secret });
      await tail.poke();
      await fleet.poke();
      return toUser(changed);
    },
  });

  app.delete("/v1/users/:id", {
    ...needs("users.write"),
    schema: {
      operationId: "deleteUser",
      summary: "Remove a user, with tokens, sessions, credentials and allocations",
      tags,
      params,
      response: { 204: z.null(), ...problems(401, 403, 404, 409) },
    },
    handler: async (request, reply) => {
      await users.remove(contextOf(request), request.params.id);
      await tail.poke();
      await fleet.poke();
      return reply.code(204).send(null);
    },
  });
}

function ownOrAll(ctx: OperationContext, all: "tokens.all" | "sessions.all"): { readonly actorId?: string } {
  return mayDo(ctx, all) ? {} : { actorId: ctx.actor?.id ?? "" };
}

function actorOf(owner: User): ExternalActor {
  const { kind, id, name, roles } = owner;
  return kind === "service" ? { kind, id, roles } : { kind, id, roles, ...(name === undefined ? {} : { name }) };
}

function labelOf(actor: ExternalActor): string {
  return `${actor.kind}:${actor.id}`;
}

function toUser({ createdAtUnixMs, roles, ...rest }: User): z.input<typeof user> {
  return { ...rest, roles: [...roles], createdAt: timeOf(createdAtUnixMs) };
}
