import type { ServerResponse } from "node:http";
import type { FailureReason } from "../core/scheme.ts";

/** What a client is told in place of what it asked for: all of it, and the same for the same status. */
export interface HttpRejection {
  readonly status: 400 | 401 | 403 | 429 | 503;
  /** Names are lower case. */
  readonly headers: Readonly<Record<string, string | string[]>>;
  /** Problem details (RFC 9457), as JSON text. */
  readonly body: string;
}

/** Why a request isn't let through. */
export type RejectionCause =
  | { readonly kind: "failed"; readonly reason: FailureReason }
  | { readonly kind: "credentialsRequired" }
  | { readonly kind: "unavailable" }
  | { readonly kind: "refused"; readonly retryAfterSeconds: number };

/** How long a client should leave a back end that is away alone, in seconds. */
const UNAVAILABLE_RETRY_SECONDS = 5;

/**
 * The answer to a request that isn't let through: `badFormat` is 400 and `forged` 403, and both say what is wrong; an
 * unknown user, a wrong secret and an expired one are one and the same 401, to the byte; an unavailable back end is 503;
 * over the limit is 429.
 * A 401 without any challenge to name would break RFC 9110 §15.5.2, so it is a 403.
 */
export function httpRejection(
  cause: RejectionCause,
  { challenges }: { readonly challenges: readonly string[] },
): HttpRejection {
  switch (cause.kind) {
    case "failed":
      if (cause.reason.kind === "badFormat")
        return problem(400, "Bad Request", { detail: `Cannot authenticate: ${cause.reason.detail}` });
      if (cause.reason.kind === "forged")
        return problem(403, "Forbidden", { detail: `Cannot tell who wants this: ${cause.reason.detail}` });
      return unauthorized("The credentials are wrong or have expired.", challenges);
    case "credentialsRequired":
      return unauthorized("This needs credentials.", challenges);
    case "unavailable":
      return problem(503, "Service Unavailable", {
        detail: "The credentials cannot be checked at the moment.",
        headers: { "retry-after": String(UNAVAILABLE_RETRY_SECONDS) },
      });
    default:
      return problem(429, "Too Many Requests", {
        detail: "There were too many failed attempts. Try again later.",
        headers: { "retry-after": String(cause.retryAfterSeconds) },
      });
  }
}

/** Writes a rejection to a response of `node:http` and ends it. */
export function sendRejection(response: ServerResponse, { status, headers, body }: HttpRejection): void {
  response.statusCode = status;
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  response.end(body);
}

/** The part of a Fastify reply that a rejection needs; a Fastify reply fits as it is. */
export interface FastifyReplyLike<Reply> {
  code(status: number): unknown;
  headers(values: Record<string, string | string[]>): unknown;
  send(body: string): Reply;
}

/** Writes a rejection to a reply of Fastify 5; return what it returns from the handler. */
export function replyRejection<Reply>(reply: FastifyReplyLike<Reply>, { status, headers, body }: HttpRejection): Reply {
  reply.code(status);
  reply.headers(headers);
  return reply.send(body);
}

function unauthorized(detail: string, challenges: readonly string[]): HttpRejection {
  if (challenges.length === 0) return problem(403, "Forbidden", { detail });
  return problem(401, "Unauthorized", { detail, headers: { "www-authenticate": [...challenges] } });
}

function problem(
  status: HttpRejection["status"],
  title: string,
  { detail, headers = {} }: { readonly detail: string; readonly headers?: HttpRejection["headers"] },
): HttpRejection {
  return {
    status,
    headers: { "content-type": "application/problem+json", "cache-control": "no-store", ...headers },
    body: JSON.stringify({ type: "about:blank", title, status, detail }),
  };
}
