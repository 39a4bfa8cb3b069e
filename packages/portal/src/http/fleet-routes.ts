import { z } from "zod";
import { NotFoundError } from "../errors.ts";
import type { LinkedRelay } from "../fleet/fleet-state.ts";
import type { Services } from "../services.ts";
import type { RegisteredRelay } from "../store/relays.ts";
import { contextOf } from "./access.ts";
import { nextPage, pageOf, pageQuery } from "./paging.ts";
import { type App, GUARDED, needs, problems, timeOf } from "./routes-types.ts";
import { allocation, identifier, newRelayBody, newRelayResponse, relay, rotationBody } from "./schemas.ts";

const tags = ["fleet"];

/** Relays and allocations. */
export function fleetRoutes(app: App, services: Services): void {
  const { relays, relayTokens, fleet, tail } = services;

  app.get("/v1/relays", {
    ...needs("relays.read"),
    schema: {
      operationId: "listRelays",
      summary: "List relays",
      tags,
      querystring: z.object(pageQuery),
      response: { 200: z.object({ relays: z.array(relay), next: nextPage }), ...GUARDED },
    },
    handler: async (request) => {
      const linked = new Map((await fleet.relays()).map((each) => [each.id, each]));
      const { items, ...rest } = pageOf(await relays.list(contextOf(request)), ({ id }) => id, request.query);
      return { ...rest, relays: items.map((each) => toRelay(each, linked.get(each.id))) };
    },
  });

  app.post("/v1/relays", {
    ...needs("relays.write"),
    schema: {
      operationId: "createRelay",
      summary: "Register a relay, and make the token that it links with",
      tags,
      body: newRelayBody,
      response: { 201: newRelayResponse, ...problems(401, 403, 409, 413, 415) },
    },
    handler: async (request, reply) => {
      const ctx = contextOf(request);
      const { name, lifetimeSeconds } = request.body;
      const created = await relays.create(ctx, name);
      const { token } = await relayTokens.create(ctx, {
        actor: { kind: "relay", id: created.id },
        label: name,
        ...(lifetimeSeconds === undefined ? {} : { lifetimeSeconds }),
      });
      return reply.code(201).send({ relay: toRelay(created, undefined), token: token.reveal() });
    },
  });

  app.post("/v1/fleet/secret/rotate", {
    ...needs("relays.write"),
    schema: {
      operationId: "rotateFleetSecret",
      summary: "Make a new secret for credentials that every relay accepts (the TURN REST form)",
      tags,
      body: rotationBody,
      response: { 204: z.null(), ...problems(401, 403, 409, 413, 415) },
    },
    handler: async (request, reply) => {
      await services.fleetSecrets.rotate(contextOf(request), request.body);
      void tail.poke();
      return reply.code(204).send(null);
    },
  });

  app.delete("/v1/relays/:id", {
    ...needs("relays.write"),
    schema: {
      operationId: "deleteRelay",
      summary: "Remove a relay; its token is good no more",
      tags,
      params: z.object({ id: identifier }),
      response: { 204: z.null(), ...problems(401, 403, 404) },
    },
    handler: async (request, reply) => {
      if (!(await relays.remove(contextOf(request), request.params.id)))
        throw new NotFoundError("There is no such relay.");
      return reply.code(204).send(null);
    },
  });

  app.post("/v1/relays/:id/drain", {
    ...needs("relays.drain"),
    schema: {
      operationId: "drainRelay",
      summary: "Have a relay refuse new allocations; what lives goes on",
      tags,
      params: z.object({ id: identifier }),
      response: { 202: z.null(), ...problems(401, 403, 404) },
    },
    handler: async (request, reply) => {
      if (!(await relays.drain(contextOf(request), request.params.id)))
        throw new NotFoundError("There is no such relay.");
      await tail.poke();
      await fleet.poke();
      return reply.code(202).send(null);
    },
  });

  app.get("/v1/allocations", {
    ...needs("allocations.read"),
    schema: {
      operationId: "listAllocations",
      summary: "List living allocations",
      description: "Of at most 10,000 in all.",
      tags,
      querystring: z.object({ ...pageQuery, user: z.string().max(508).optional(), relay: identifier.optional() }),
      response: { 200: z.object({ allocations: z.array(allocation), next: nextPage }), ...GUARDED },
    },
    handler: async (request) => {
      const { user, relay: relayId } = request.query;
      const all = await fleet.allocations();
      const wanted = all.filter(
        (each) => (user === undefined || each.actor === user) && (relayId === undefined || each.relayId === relayId),
      );
      const { items, ...rest } = pageOf(wanted, ({ id }) => id, request.query);
      return {
        ...rest,
        allocations: items.map((each) => ({
          id: each.id,
          relay: each.relayId,
          user: each.actor,
          username: each.username,
          scheme: each.scheme,
          transport: each.transport,
          client: each.client,
          relayed: [...each.relayed],
          createdAt: timeOf(each.created_at_unix_ms),
        })),
      };
    },
  });

  app.delete("/v1/allocations/:id", {
    ...needs("allocations.end"),
    schema: {
      operationId: "endAllocation",
      summary: "End an allocation",
      tags,
      params: z.object({ id: identifier }),
      querystring: z.object({ relay: identifier.optional() }),
      response: { 202: z.null(), ...problems(401, 403, 404) },
    },
    handler: async (request, reply) => {
      const { id } = request.params;
      const found = (await fleet.allocations()).filter(
        (each) => each.id === id && (request.query.relay === undefined || each.relayId === request.query.relay),
      );
      if (found.length === 0) throw new NotFoundError("There is no such allocation.");
      for (const { relayId } of found) await relays.endAllocation(contextOf(request), relayId, id);
      await tail.poke();
      await fleet.poke();
      return reply.code(202).send(null);
    },
  });
}

function toRelay(registered: RegisteredRelay, linked: LinkedRelay | undefined): z.input<typeof relay> {
  const { presence } = linked ?? {};
  return {
    id: registered.id,
    name: registered.name,
    createdAt: timeOf(registered.createdAtUnixMs),
    linked: linked !== undefined,
    ...(linked === undefined ? {} : { linkedAt: timeOf(linked.linkedAtUnixMs), portal: linked.portalId }),
    urls: [...(linked?.urls ?? [])],
    ...(presence === undefined
      ? {}
      : {
          load: presence.load,
          allocations: presence.allocations,
          version: presence.version,
          draining: presence.draining,
          ...(presence.hints === undefined ? {} : { hints: [...presence.hints] }),
          ...(presence.reference === undefined ? {} : { reference: presence.reference }),
          ...(presence.region === undefined ? {} : { region: presence.region }),
        }),
  };
}
