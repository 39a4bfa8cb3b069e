import { actorLabel, fromFastifyRequest, type OperationContext } from "@turnpike/authn";
import { z } from "zod";
import { mayDo } from "../access/roles.ts";
import { PortalError, UnavailableError } from "../errors.ts";
import type { FleetEvent } from "../fleet/fleet-state.ts";
import type { Services } from "../services.ts";
import { contextOf } from "./access.ts";
import { type App, GUARDED, needs, timeOf } from "./routes-types.ts";

const KEEP_ALIVE_MS = 10_000;
const MAX_STREAMS = 1_000;
/** One who may look must not keep all others from it. */
const MAX_STREAMS_OF_ACTOR = 32;
const MAX_WAITING_BYTES = 1_048_576;

/** What happens, live, as server-sent events. */
export function eventRoutes(app: App, services: Services): void {
  const { fleet, gate, streams } = services;
  const ofActors = new Map<string, number>();

  app.get("/v1/events", {
    ...needs("events.read"),
    schema: {
      operationId: "events",
      summary: "Lifecycle and authentication events, live",
      description:
        "Server-sent events: `event` is the type, `data` JSON. A comment comes every 10 seconds. The stream ends when " +
        "the credentials of its request do, or when its client doesn't keep up.",
      tags: ["events"],
      querystring: z.object({ type: z.string().max(64).optional(), user: z.string().max(508).optional() }),
      response: {
        200: { description: "A stream of events", content: { "text/event-stream": { schema: z.string() } } },
        ...GUARDED,
      },
    },
    handler: (request, reply) => {
      if (streams.open >= MAX_STREAMS) throw new UnavailableError("There are too many streams of events.");
      const whose = ownLabel(contextOf(request));
      const own = ofActors.get(whose) ?? 0;
      if (own >= MAX_STREAMS_OF_ACTOR) {
        const detail = `You have ${own} streams of events open already.`;
        throw new PortalError({ status: 429, title: "Too Many Requests", detail, retryAfterSeconds: 10 });
      }
      const { type, user } = request.query;
      const asking = fromFastifyRequest(request);
      reply.hijack();
      const { raw } = reply;
      raw.writeHead(200, {
        ...Object.fromEntries(
          Object.entries(reply.getHeaders()).flatMap(([k, v]) => (v === undefined ? [] : [[k, v]])),
        ),
        "content-type": "text/event-stream",
        "cache-control": "no-store",
        "x-accel-buffering": "no",
      });
      raw.write(": open\n\n");
      streams.open++;
      ofActors.set(whose, own + 1);
      const write = (text: string): void => {
        if (raw.writableLength > MAX_WAITING_BYTES) raw.destroy();
        else raw.write(text);
      };
      const unlisten = fleet.onEvents((events) => {
        for (const event of events) {
          if ((type === undefined || event.type === type) && (user === undefined || event.actor === user)) {
            write(toServerSentEvent(event));
          }
        }
      });
      const timer = setInterval(() => {
        write(": alive\n\n");
        void gate.authenticator.authenticate(asking).then((outcome) => {
          if (outcome.kind === "unavailable") return;
          if (outcome.kind !== "authenticated" || !mayDo(outcome.context, "events.read")) raw.end();
        });
      }, KEEP_ALIVE_MS);
      timer.unref();
      raw.once("close", () => {
        streams.open--;
        const left = (ofActors.get(whose) ?? 1) - 1;
        if (left === 0) ofActors.delete(whose);
        else ofActors.set(whose, left);
        clearInterval(timer);
        unlisten();
      });
    },
  });
}

function ownLabel({ actor }: OperationContext): string {
  return actor === undefined ? "nobody" : actorLabel(actor);
}

/** JSON has no line breaks of its own, and a type that had one would be another event. */
function toServerSentEvent({ type, atUnixMs, relayId, actor, ...rest }: FleetEvent): string {
  const data = JSON.stringify({ type, at: timeOf(atUnixMs), relay: relayId, user: actor, ...rest });
  return `event: ${type.replaceAll(/[^\w.-]/g, "")}\ndata: ${data}\n\n`;
}
