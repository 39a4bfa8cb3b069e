import type { FastifyReply } from "fastify";
import { hasZodFastifySchemaValidationErrors } from "fastify-type-provider-zod";
import { PortalError } from "../errors.ts";
import { isStoreAway } from "../store/availability.ts";

/** Problem details (RFC 9457). */
export interface Problem {
  readonly type: "about:blank";
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  /** Names the request in the portal's log. */
  readonly requestId?: string;
}

const TITLES: Readonly<Record<number, string>> = {
  400: "Bad Request",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  408: "Request Timeout",
  413: "Content Too Large",
  414: "URI Too Long",
  415: "Unsupported Media Type",
  429: "Too Many Requests",
  431: "Request Header Fields Too Large",
  500: "Internal Server Error",
  503: "Service Unavailable",
};

/** Answers with problem details. */
export function sendProblem(reply: FastifyReply, problem: Omit<Problem, "type">): FastifyReply {
  return reply
    .code(problem.status)
    .header("cache-control", "no-store")
    .type("application/problem+json")
    .serializer((value: unknown) => JSON.stringify(value))
    .send({ type: "about:blank", ...problem });
}

/** What a client is told of an error: of the program's own only that there was one. */
export function problemOf(
  error: unknown,
  requestId: string,
): { readonly problem: Omit<Problem, "type">; readonly headers: Record<string, string>; readonly isOurs: boolean } {
  if (error instanceof PortalError) {
    const { status, title, message, retryAfterSeconds } = error;
    const headers = retryAfterSeconds === undefined ? {} : { "retry-after": String(retryAfterSeconds) };
    return { problem: { status, title, detail: message }, headers, isOurs: false };
  }
  if (hasZodFastifySchemaValidationErrors(error)) {
    const places = error.validation.map(
      ({ instancePath, message = "is wrong" }) => `${instancePath || "/"}: ${message}`,
    );
    const detail = `The request's ${error.validationContext ?? "content"} is not as it must be: ${places.slice(0, 5).join("; ")}`;
    return { problem: { status: 400, title: "Bad Request", detail }, headers: {}, isOurs: false };
  }
  if (isStoreAway(error)) {
    const detail = "The store does not answer. Try again in a moment.";
    return {
      problem: { status: 503, title: "Service Unavailable", detail, requestId },
      headers: { "retry-after": "5" },
      isOurs: true,
    };
  }
  const status = statusOf(error);
  if (status < 500) {
    const detail = error instanceof Error ? error.message.slice(0, 200) : "The request can't be understood.";
    return { problem: { status, title: TITLES[status] ?? "Bad Request", detail }, headers: {}, isOurs: false };
  }
  const detail = "Something went wrong in the portal. Its log says more under this request's id.";
  return { problem: { status: 500, title: "Internal Server Error", detail, requestId }, headers: {}, isOurs: true };
}

/** The framework's errors have a status of their own. */
function statusOf(error: unknown): number {
  if (!(error instanceof Error) || !("statusCode" in error)) return 500;
  const { statusCode } = error;
  return typeof statusCode === "number" && TITLES[statusCode] !== undefined ? statusCode : 500;
}
