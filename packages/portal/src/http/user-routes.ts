import { Secret } from "@turnpike/authn";
import { z } from "zod";
import { NotFoundError } from "../errors.ts";
import type { Services } from "../services.ts";
import type { User } from "../store/users.ts";
import { contextOf } from "./access.ts";
import { nextPage, pageOf, pageQuery } from "./paging.ts";
import { type App, GUARDED, needs, problems, timeOf } from "./routes-types.ts";
import { newUserBody, user, userChangesBody, userId } from "./schemas.ts";

const tags = ["identity"];

/** Users. */
export function userRoutes(app: App, services: Services): void {
  const { users, tail, fleet } = services;
  const params = z.object({ id: userId });

  app.get("/v1/users", {
    ...needs("users.read"),
    schema: {
      operationId: "listUsers",
      summary: "List users",
      tags,
      querystring: z.object(pageQuery),
      response: { 200: z.object({ users: z.array(user), next: nextPage }), ...GUARDED },
    },
    handler: async (request) => {
      const { after, limit } = request.query;
      // One more than asked for tells whether there is more.
      const found = await users.list(contextOf(request), { after, limit: limit + 1 });
      const { items, ...rest } = pageOf(found, ({ id }) => id, { limit });
      return { ...rest, users: items.map(toUser) };
    },
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

function toUser({ createdAtUnixMs, roles, ...rest }: User): z.input<typeof user> {
  return { ...rest, roles: [...roles], createdAt: timeOf(createdAtUnixMs) };
}
