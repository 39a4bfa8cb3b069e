import { sessionDetailsOf } from "@turnpike/authn";
import { z } from "zod";
import { NotFoundError } from "../errors.ts";
import type { Services } from "../services.ts";
import { contextOf } from "./access.ts";
import { endRoute, labelOf, ownOrAll } from "./own-or-all.ts";
import { nextPage, pageOf, pageQuery } from "./paging.ts";
import { type App, GUARDED, needs, timeOf } from "./routes-types.ts";
import { session, whoami } from "./schemas.ts";

const tags = ["identity"];

/** Who is asking, and sessions of browsers. Signing in has a file of its own. */
export function sessionRoutes(app: App, services: Services): void {
  whoamiRoute(app);
  listAndEndRoutes(app, services);
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

function listAndEndRoutes(app: App, { sessions }: Services): void {
  app.get("/v1/sessions", {
    ...needs("sessions.own"),
    schema: {
      operationId: "listSessions",
      summary: "List sessions of browsers",
      tags,
      querystring: z.object(pageQuery),
      response: { 200: z.object({ sessions: z.array(session), next: nextPage }), ...GUARDED },
    },
    handler: async (request) => {
      const ctx = contextOf(request);
      const current = ctx.authentication === undefined ? undefined : sessionDetailsOf(ctx.authentication)?.session.id;
      const { items, ...rest } = pageOf(
        await sessions.list(ctx, ownOrAll(ctx, "sessions.all")),
        ({ id }) => id,
        request.query,
      );
      return {
        ...rest,
        sessions: items.map((each) => ({
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

  endRoute(app, {
    url: "/v1/sessions/:id",
    all: "sessions.all",
    schema: { operationId: "endSession", summary: "End a session", tags },
    end: (ctx, id, whose) => sessions.revoke(ctx, id, whose),
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
