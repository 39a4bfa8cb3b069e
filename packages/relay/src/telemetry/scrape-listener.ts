import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { http } from "../node-http.ts";

/** Answers a request for the metrics. */
export type Scrape = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>;

const PATH = "/metrics";

/** Opens the listener that Prometheus comes to. @throws Error if it can't be opened */
export async function openScrapeListener(options: {
  readonly host: string;
  readonly port: number;
  readonly scrape: Scrape;
}): Promise<{ stop(): Promise<void> }> {
  const { host, port, scrape } = options;
  const server = http
    .createServer((request, response) => {
      if (request.url?.split("?")[0] !== PATH) {
        response.writeHead(404).end();
        return;
      }
      void (async () => {
        try {
          await scrape(request, response);
        } catch {
          // Prometheus tells of a target that fails.
          if (!response.headersSent) response.writeHead(500);
          response.end();
        }
      })();
    })
    .unref();
  server.listen(port, host);
  await once(server, "listening");
  return {
    async stop() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
