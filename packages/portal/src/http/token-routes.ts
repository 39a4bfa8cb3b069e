import type { ExternalActor, OperationContext } from "@turnpike/authn";
import { z } from "zod";
import { authorize, mayDo } from "../access/roles.ts";
import { ConflictError, NotFoundError } from "../errors.ts";
import type { Services } from "../services.ts";
import type { User } from "../store/users.ts";
import { contextOf } from "./access.ts";
import { endRoute, labelOf, ownOrAll } from "./own-or-all.ts";
import { nextPage, pageOf, pageQuery } from "./paging.ts";
import { type App, GUARDED, needs, problems, timeOf } from "./routes-types.ts";
import { newTokenBody, newTokenResponse, token } from "./schemas.ts";

const tags = ["identity"];
/** Of one user. */
const MAX_TOKENS = 1_000;

/** Access tokens. */
export function tokenRoutes(app: App, services: Services): void {
  const { tokens, relayTokens, users } = services;
  app.get("/v1/tokens", {
    ...needs("tokens.own"),
    schema: {
      operationId: "listTokens",
      summary: "List access tokens",
      description: "One's own; an administrator's list has all, those of relays too.",
      tags,
      querystring: z.object(pageQuery),
      response: { 200: z.object({ tokens: z.array(token), next: nextPage }), ...GUARDED },
    },
    handler: async (request) => {
      const ctx = contextOf(request);
      const filter = ownOrAll(ctx, "tokens.all");
      const relays = mayDo(ctx, "tokens.all") ? await relayTokens.list(ctx, filter) : [];
      const { items, ...rest } = pageOf(
        [...(await tokens.list(ctx, filter)), ...relays],
        ({ id }) => id,
        request.query,
      );
      return {
        ...rest,
        tokens: items.map((each) => ({
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
      response: { 201: newTokenResponse, ...problems(401, 403, 404, 409, 413, 415) },
    },
    handler: async (request, reply) => {
      const ctx = contextOf(request);
      const { label, user: forUser, lifetimeSeconds } = request.body;
      if (forUser !== undefined && forUser !== ctx.actor?.id) authorize(ctx, "tokens.all");
      const owner = await users.find(ctx, forUser ?? ctx.actor?.id ?? "");
      if (owner === undefined || owner.disabled) throw new NotFoundError(`There is no user "${forUser ?? ""}".`);
      if ((await tokens.list(ctx, { actorId: owner.id })).length >= MAX_TOKENS) {
        throw new ConflictError(`There are ${MAX_TOKENS} tokens already: revoke some.`);
      }
      const lifetime = lifetimeWithin(ctx, lifetimeSeconds, services.store.clock.unixMs());
      const made = await tokens.create(ctx, {
        actor: actorOf(owner),
        label,
        ...(lifetime === undefined ? {} : { lifetimeSeconds: lifetime }),
      });
      return reply.code(201).send({ token: made.token.reveal(), id: made.accessToken.id });
    },
  });

  endRoute(app, {
    url: "/v1/tokens/:id",
    all: "tokens.all",
    schema: { operationId: "revokeToken", summary: "Revoke an access token", tags },
    end: (ctx, id, whose) => tokens.revoke(ctx, id, whose),
  });
}

function actorOf(owner: User): ExternalActor {
  const { kind, id, name, roles } = owner;
  return kind === "service" ? { kind, id, roles } : { kind, id, roles, ...(name === undefined ? {} : { name }) };
}

/** What a token that ends makes ends no later: whoever found one has it no longer for that. */
function lifetimeWithin(ctx: OperationContext, wanted: number | undefined, nowUnixMs: number): number | undefined {
  const { authentication } = ctx;
  if (authentication?.kind !== "authenticated" || authentication.scheme !== "access-token") return wanted;
  const { expiresAtUnixMs } = authentication.details;
  if (expiresAtUnixMs === undefined) return wanted;
  return Math.min(wanted ?? Infinity, Math.max(1, (expiresAtUnixMs - nowUnixMs) / 1_000));
}
