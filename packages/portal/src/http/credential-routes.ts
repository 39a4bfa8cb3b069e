import { parseTimeLimitedName } from "@turnpike/credentials";
import { normalizeUser } from "@turnpike/authn/turn";
import { z } from "zod";
import { mayDo } from "../access/roles.ts";
import { NotFoundError } from "../errors.ts";
import type { Services } from "../services.ts";
import { contextOf } from "./access.ts";
import { type App, GUARDED, GUARDED_BODY, needs, problems, timeOf } from "./routes-types.ts";
import {
  generateBody,
  generateResponse,
  identifier,
  mintBody,
  mintResponse,
  turnRestQuery,
  turnRestResponse,
} from "./schemas.ts";

const tags = ["credentials"];

/** Minting in three shapes, and revocation. */
export function credentialRoutes(app: App, services: Services): void {
  const { minter, credentials, tail, fleet } = services;

  app.post("/v1/credentials", {
    ...needs("credentials.mint"),
    schema: {
      operationId: "mintCredentials",
      summary: "Mint credentials",
      description: "One for each relay that the portal chooses. The answer is what an RTCPeerConnection takes.",
      tags,
      body: mintBody,
      response: { 201: mintResponse, ...GUARDED_BODY },
    },
    handler: async (request, reply) => {
      const { ttl, user, label } = request.body;
      const options = { ttlSeconds: ttl, user, label, clientAddress: request.ip };
      const { iceServers, expiresAtUnixMs } = await minter.mint(contextOf(request), options);
      return reply.code(201).send({ iceServers: toPlain(iceServers), expiresAt: timeOf(expiresAtUnixMs) });
    },
  });

  app.post("/v1/credentials/:username/revoke", {
    ...needs("credentials.revoke"),
    schema: {
      operationId: "revokeCredentials",
      summary: "Revoke a credential",
      description: "With it all of the same user and label. Their allocations end on all relays within a second.",
      tags,
      params: z.object({ username: z.string().min(1).max(508) }),
      response: { 204: z.null(), ...problems(401, 403, 404) },
    },
    handler: async (request, reply) => {
      const ctx = contextOf(request);
      const { username } = request.params;
      const name = parseTimeLimitedName(username);
      const known = await credentials.find(ctx, username);
      // A minter revokes what it minted; who looks after relays, everything.
      const isTheirs =
        known !== undefined && (known.mintedBy === ctx.actor?.id || known.actor === normalizeUser(ctx.actor?.id ?? ""));
      if (known === undefined ? !mayDo(ctx, "allocations.end") : !isTheirs && !mayDo(ctx, "allocations.end")) {
        throw new NotFoundError("There is no such credential of yours.");
      }
      const isOwnUser = known?.actor === normalizeUser(ctx.actor?.id ?? "");
      // Another minter may have used the same label for the same user.
      const mintedBy = isOwnUser || mayDo(ctx, "allocations.end") ? undefined : ctx.actor?.id;
      if (!(await credentials.revoke(ctx, username, { mintedBy }))) {
        if (name === undefined) throw new NotFoundError("There is no such credential, and its name says no end.");
        await credentials.revokeForeign(ctx, username, name.expiresAtUnixSeconds * 1_000);
      }
      await tail.poke();
      await fleet.poke();
      return reply.code(204).send(null);
    },
  });

  app.post("/v1/turn/keys/:id/credentials/generate-ice-servers", {
    ...needs("credentials.mint"),
    schema: {
      operationId: "generateIceServers",
      summary: "Mint credentials, as clients of hosted services ask for them",
      description: "The key's id is that of the access token that is used.",
      tags,
      params: z.object({ id: identifier }),
      body: generateBody,
      response: { 201: generateResponse, ...problems(401, 403, 404, 413, 415) },
    },
    handler: async (request, reply) => {
      const ctx = contextOf(request);
      const { authentication } = ctx;
      const own = authentication?.kind === "authenticated" ? authentication.details.credentialId : undefined;
      if (own !== request.params.id) throw new NotFoundError("The key's id is not that of the access token.");
      const { ttl, customIdentifier } = request.body;
      const options = { ttlSeconds: ttl, user: customIdentifier, clientAddress: request.ip };
      const { iceServers } = await minter.mint(ctx, options);
      return reply.code(201).send({ iceServers: toPlain(iceServers) });
    },
  });

  app.get("/v1/turn-rest", {
    config: { ...needs("credentials.mint").config, tokenParameter: "key" },
    schema: {
      operationId: "turnRest",
      summary: "Mint a credential, as the TURN REST draft has it",
      description:
        "Good for every relay of the fleet. An access token in the header Authorization is better than `key`.",
      tags,
      querystring: turnRestQuery,
      response: { 200: turnRestResponse, ...GUARDED },
    },
    handler: async (request) => {
      const { username, ttl } = request.query;
      const options = { ttlSeconds: ttl, user: username, clientAddress: request.ip };
      const answer = await minter.mintForFleet(contextOf(request), options);
      return { ...answer, uris: [...answer.uris] };
    },
  });
}

function toPlain(
  iceServers: readonly {
    readonly urls: string | readonly string[];
    readonly username?: string;
    readonly credential?: string;
  }[],
): { urls: string | string[]; username?: string; credential?: string }[] {
  return iceServers.map(({ urls, ...rest }) => ({ urls: typeof urls === "string" ? urls : [...urls], ...rest }));
}
