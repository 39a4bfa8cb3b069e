import type {
  FastifyInstance,
  FastifyBaseLogger,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerDefault,
} from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import type { Permission } from "../access/roles.ts";
import type { Access } from "./access.ts";
import { problem } from "./schemas.ts";

/** The server, with routes that are typed by their schemas. */
export type App = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  ZodTypeProvider
>;

/** For routes of whoever has a permission. */
export function needs(permission: Permission): { readonly config: { readonly access: Access } } {
  return { config: { access: { kind: "permission", permission } } };
}

/** For routes of everybody. */
export function open(why: string): { readonly config: { readonly access: Access } } {
  return { config: { access: { kind: "public", why } } };
}

const PROBLEMS: Readonly<Record<number, string>> = {
  400: "The request is not as it must be",
  401: "Credentials are missing, wrong or expired",
  403: "Whoever asks may not do that, or a change by a session lacks its x-csrf-token or comes from another site",
  404: "There is no such thing",
  409: "Something stands in the way",
  413: "The request is too large",
  414: "The path is longer than any that there is",
  415: "The content is not JSON",
  429: "Too many requests, or too many failed attempts",
  500: "An error of the portal",
  503: "It can't be done at the moment",
};

const ALWAYS = [400, 414, 429, 500, 503] as const;

interface ProblemResponse {
  readonly description: string;
  readonly content: { readonly "application/problem+json": { readonly schema: typeof problem } };
}

/** Response schemas of problems: those that every route may have, and `statuses`. */
export function problems(
  ...statuses: readonly (401 | 403 | 404 | 409 | 413 | 415)[]
): Readonly<Record<number, ProblemResponse>> {
  return Object.fromEntries(
    [...ALWAYS, ...statuses].map((status) => [
      status,
      { description: PROBLEMS[status] ?? "", content: { "application/problem+json": { schema: problem } } },
    ]),
  );
}

/** Of routes behind the door that take no body. */
export const GUARDED: ReturnType<typeof problems> = problems(401, 403);
/** Of routes behind the door that take a body. */
export const GUARDED_BODY: ReturnType<typeof problems> = problems(401, 403, 413, 415);

/** Milliseconds since 1970 as the API writes them. */
export function timeOf(unixMs: number): string {
  return new Date(unixMs).toISOString();
}
