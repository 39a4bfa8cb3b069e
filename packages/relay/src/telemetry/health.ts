import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { http } from "../node-http.ts";

/** What {@link startHealth} takes. */
export interface HealthOptions {
  readonly host: string;
  readonly port: number;
  /** Why the relay should get no new clients; `undefined`: it should. */
  readonly notReadyBecause: () => string | undefined;
}

/** A listener for whoever looks after processes. */
export interface Health {
  readonly address: AddressInfo;
  stop(): Promise<void>;
}

const TIMEOUT_MS = 5_000;
const MAX_CONNECTIONS = 100;

/**
 * Answers `/healthz`, as long as the process lives, and `/readyz`, which follows the portal link and draining. A listener
 * of its own: it says nothing that clients should see.
 */
export async function startHealth({ host, port, notReadyBecause }: HealthOptions): Promise<Health> {
  const server = http.createServer({ requestTimeout: TIMEOUT_MS, headersTimeout: TIMEOUT_MS }, (request, response) => {
    const path = request.url?.split("?")[0];
    const reason = path === "/readyz" ? notReadyBecause() : undefined;
    const isKnown = path === "/healthz" || path === "/readyz";
    const status = !isKnown ? 404 : request.method !== "GET" && request.method !== "HEAD" ? 405 : reason ? 503 : 200;
    const body = { status: status === 200 ? (path === "/healthz" ? "alive" : "ready") : (reason ?? "no such thing") };
    response.writeHead(status, {
      "content-type": "application/json",
      "cache-control": "no-store",
      connection: "close",
    });
    response.end(request.method === "HEAD" ? undefined : `${JSON.stringify(body)}\n`);
  });
  server.maxConnections = MAX_CONNECTIONS;
  server.listen(port, host);
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new TypeError("The health listener has no address");
  return {
    address,
    async stop() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
