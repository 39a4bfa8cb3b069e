import type { ExternalActor, OperationContext } from "@turnpike/authn";
import { z } from "zod";
import { mayDo } from "../access/roles.ts";
import { NotFoundError } from "../errors.ts";
import { contextOf } from "./access.ts";
import { type App, needs, problems } from "./routes-types.ts";
import { identifier } from "./schemas.ts";

/** What lets somebody see, and end, what is others'. */
type All = "tokens.all" | "sessions.all";

const OWN = { "tokens.all": "tokens.own", "sessions.all": "sessions.own" } as const;

/** What of a list somebody sees: their own, unless they may see all. */
export function ownOrAll(ctx: OperationContext, all: All): { readonly actorId?: string } {
  return mayDo(ctx, all) ? {} : { actorId: ctx.actor?.id ?? "" };
}

/** A route that ends something by its id: one's own, unless one may see all. What is others' looks as if it weren't there. */
export function endRoute(
  app: App,
  route: {
    readonly url: string;
    readonly all: All;
    readonly schema: { readonly operationId: string; readonly summary: string; readonly tags: readonly string[] };
    /** Tells whether it was there, of those that the filter leaves. */
    readonly end: (ctx: OperationContext, id: string, whose: { readonly actorId?: string }) => Promise<boolean>;
  },
): void {
  app.delete(route.url, {
    ...needs(OWN[route.all]),
    schema: {
      ...route.schema,
      params: z.object({ id: identifier }),
      response: { 204: z.null(), ...problems(401, 403, 404) },
    },
    handler: async (request, reply) => {
      const ctx = contextOf(request);
      const whose = ownOrAll(ctx, route.all);
      if (!(await route.end(ctx, request.params.id, whose))) {
        throw new NotFoundError("There is no such thing, or it isn't yours.");
      }
      return reply.code(204).send(null);
    },
  });
}

/** Such as `user:alice`. */
export function labelOf(actor: ExternalActor): string {
  return `${actor.kind}:${actor.id}`;
}
