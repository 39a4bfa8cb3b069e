import { createServer } from "node:net";
import { join } from "node:path";
import { parsePort } from "../host-port.ts";
import { guardStream } from "../network.ts";
import { createSecretFile, readSecretFile } from "../secret-file.ts";
import type { Tor } from "../tor/tor.ts";
import type { ListenHandler } from "./handler.ts";
import { InvalidSpecError } from "./spec.ts";
import { bind, closeServer } from "./tcp.ts";

/** What an onion listener needs of local configuration. */
export interface OnionListenerOptions {
  /** With a control port, or launched. */
  readonly tor: Tor;
  /** Where keys are kept: `onion-PORT.key`, mode 0600. The key *is* the address: keep it to keep the hints. */
  readonly directory: string;
}

/** `onion:PORT`: a version 3 onion service with that virtual port. Streams arrive on loopback, from Tor. */
export function createOnionListener(options: OnionListenerOptions): ListenHandler {
  const { tor, directory } = options;
  return {
    async listen(context) {
      const { spec, signal } = context;
      const virtualPort = parsePort(spec.rest);
      if (virtualPort === undefined) throw new InvalidSpecError(spec.text, "write onion:PORT, from 1 to 65535");
      const file = join(directory, `onion-${virtualPort}.key`);
      const kept = (await readSecretFile(file))?.trim();
      const server = createServer({ allowHalfOpen: true, noDelay: true });
      server.on("connection", (socket) =>
        context.accept(guardStream(socket), { remoteAddress: undefined, halfClose: false }),
      );
      server.maxConnections = 2 * context.maximumStreams;
      const bound = await bind(server, { host: "127.0.0.1", port: 0 }, { signal });
      try {
        const service = await tor.createOnion({
          key: kept,
          virtualPort,
          target: { kind: "tcp", address: bound.address, port: bound.port },
          signal,
          status: (detail) => context.status(detail),
        });
        if (kept === undefined) await createSecretFile(file, `${service.secretKey()}\n`);
        return {
          bound: `${service.host}:${virtualPort}`,
          hints: [`tor:${service.host}:${virtualPort}`],
          async close() {
            await service.close();
            await closeServer(server);
          },
        };
      } catch (error) {
        server.close();
        throw error;
      }
    },
  };
}
