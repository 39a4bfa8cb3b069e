import { type ExternalActor, fromFastifyRequest, type OperationContext, Secret } from "@turnpike/authn";
import type { FastifyReply, FastifyRequest } from "fastify";
import { z } from "zod";
import { PortalError, UnavailableError } from "../errors.ts";
import type { Services } from "../services.ts";
import { findActor } from "../store/actors.ts";
import { takeSignInCode } from "../store/settings.ts";
import { contextOf } from "./access.ts";
import { type App, open, problems } from "./routes-types.ts";
import { loginBody } from "./schemas.ts";

const tags = ["identity"];

type Proof =
  | { readonly kind: "proven"; readonly actor: ExternalActor }
  | { readonly kind: "wrong" }
  | { readonly kind: "unavailable" };

/** Signing in and out, with a browser. */
export function signInRoutes(app: App, services: Services): void {
  const { sessions } = services;

  app.post("/v1/login", {
    config: { ...open("to sign in is to prove who one is").config, rateLimit: { max: 30, timeWindow: "1 minute" } },
    schema: {
      operationId: "login",
      summary: "Sign in",
      description:
        "By user name and password, or by the code of a one-time link. The answer sets the session's cookie.",
      tags,
      security: [],
      body: loginBody,
      response: { 200: z.object({ csrfToken: z.string() }), ...problems(401, 403, 413, 415) },
    },
    handler: async (request, reply) => {
      const ctx = contextOf(request);
      refuseOtherSites(request);
      const { body } = request;
      const user = "code" in body ? "sign-in-code" : `login ${body.username}`;
      const guarded = await services.penalties.guard(ctx, { address: request.ip, user }, async () => {
        const value = "code" in body ? await byCode(ctx, services, body.code) : await byPassword(ctx, services, body);
        return {
          value,
          verdict: value.kind === "proven" ? "succeeded" : value.kind === "wrong" ? "failed" : "neutral",
        };
      });
      if (guarded.kind === "aborted") return reply.hijack();
      if (guarded.kind === "refused") {
        const { retryAfterSeconds } = guarded;
        const detail = "There were too many failed attempts. Try again later.";
        throw new PortalError({ status: 429, title: "Too Many Requests", detail, retryAfterSeconds });
      }
      const proof = guarded.value;
      if (proof.kind === "unavailable") throw new UnavailableError("The password can't be checked at the moment.");
      if (proof.kind === "wrong") return unauthorized(reply, services);
      const started = await sessions.start(ctx, fromFastifyRequest(request), proof.actor);
      return reply
        .header("set-cookie", started.setCookie)
        .header("cache-control", "no-store")
        .send({ csrfToken: started.csrfToken });
    },
  });

  app.post("/v1/logout", {
    config: open("a session is ended by whoever has its cookie").config,
    schema: {
      operationId: "logout",
      summary: "Sign out",
      description: "Ends the session of the cookie that the request brought, and takes the cookie back.",
      tags,
      security: [],
      response: { 204: z.null(), ...problems(403) },
    },
    handler: async (request, reply) => {
      refuseOtherSites(request);
      const takenBack = await sessions.end(contextOf(request), fromFastifyRequest(request));
      return reply.code(204).header("set-cookie", takenBack).send(null);
    },
  });
}

/** Another site's page must not sign its visitors in as somebody else, nor out. */
function refuseOtherSites(request: FastifyRequest): void {
  const site = request.headers["sec-fetch-site"];
  const { origin } = request.headers;
  const isOther =
    site === undefined
      ? origin !== undefined && origin !== `${request.protocol}://${request.host}`
      : site !== "same-origin" && site !== "none";
  if (isOther) {
    throw new PortalError({ status: 403, title: "Forbidden", detail: "Only pages of this portal sign in and out." });
  }
}

async function byCode(ctx: OperationContext, { store }: Services, code: string): Promise<Proof> {
  const id = await takeSignInCode(ctx, store, code);
  const actor = id === undefined ? undefined : await findActor(store.reader(ctx), { kind: "user", id });
  return actor === undefined ? { kind: "wrong" } : { kind: "proven", actor };
}

async function byPassword(
  ctx: OperationContext,
  { users, verifier, store }: Services,
  { username, password }: { readonly username: string; readonly password: string },
): Promise<Proof> {
  const secret = new Secret(password);
  const id = username.toLowerCase();
  const local = await users.verifyPassword(ctx, id, secret);
  if (local !== undefined) return { kind: "proven", actor: local };
  if (verifier === undefined) return { kind: "wrong" };
  const result = await verifier.verify(ctx, { username, password: secret });
  if (result.kind === "unavailable") return { kind: "unavailable" };
  if (result.kind === "rejected") return { kind: "wrong" };
  const actor = await findActor(store.reader(ctx), { kind: "user", id: result.subject });
  return actor === undefined ? { kind: "wrong" } : { kind: "proven", actor };
}

function unauthorized(reply: FastifyReply, { gate }: Services): never {
  reply.header("www-authenticate", [...gate.challenges]);
  throw new PortalError({ status: 401, title: "Unauthorized", detail: "The credentials are wrong or have expired." });
}
