import type { ExternalActor, OperationContext } from "@turnpike/authn";
import { mayDo } from "../access/roles.ts";

/** What of a list somebody sees: their own, unless they may see all. */
export function ownOrAll(ctx: OperationContext, all: "tokens.all" | "sessions.all"): { readonly actorId?: string } {
  return mayDo(ctx, all) ? {} : { actorId: ctx.actor?.id ?? "" };
}

/** Such as `user:alice`. */
export function labelOf(actor: ExternalActor): string {
  return `${actor.kind}:${actor.id}`;
}
