import { z } from "zod";
import { identifier } from "./schemas.ts";

const MAX_PAGE = 1_000;

/** What routes that list take: where to go on, and how far. */
export const pageQuery = {
  after: identifier.optional().meta({ description: "`next` of the page before" }),
  limit: z.coerce.number().int().min(1).max(MAX_PAGE).default(MAX_PAGE),
} as const;

/** Present if there is more. */
export const nextPage = z.string().optional().meta({ description: "There is more: to be given as `after`" });

/** Which page is wanted. */
export interface PageRequest {
  readonly after?: string | undefined;
  readonly limit: number;
}

/** A page of a list, in the order of ids: one that lost or got members between two pages doesn't repeat any. */
export function pageOf<Item>(
  items: readonly Item[],
  idOf: (item: Item) => string,
  { after, limit }: PageRequest,
): { readonly items: readonly Item[]; readonly next?: string } {
  const rest = items
    .filter((item) => after === undefined || idOf(item) > after)
    .toSorted((a, b) => (idOf(a) < idOf(b) ? -1 : 1));
  const page = rest.slice(0, limit);
  const last = page.at(-1);
  return { items: page, ...(last !== undefined && rest.length > limit ? { next: idOf(last) } : {}) };
}
