import { once } from "node:events";
import { type Duplex, duplexPair } from "node:stream";
import { connect, TLSSocket } from "node:tls";
import { expect, it } from "vitest";
import { createIdentity } from "./index.ts";
import { endOutsideReads } from "./tls-end.ts";

/** Passes bytes on; while it is held, it collects them, and lets them go in one piece. */
class Valve {
  #held: Buffer[] | undefined;
  readonly #to: Duplex;

  constructor(from: Duplex, to: Duplex) {
    this.#to = to;
    from.on("data", (chunk: Buffer) => {
      if (this.#held === undefined) to.write(chunk);
      else this.#held.push(chunk);
    });
  }

  hold(): void {
    this.#held = [];
  }

  release(): void {
    this.#to.write(Buffer.concat(this.#held ?? []));
    this.#held = undefined;
  }
}

it("an end that answers one record doesn't lose the next, though both came in one piece", async () => {
  const [clientSide, clientFar] = duplexPair();
  const [serverFar, serverSide] = duplexPair();
  const toClient = new Valve(serverFar, clientFar);
  clientFar.on("data", (chunk: Buffer) => serverFar.write(chunk));
  const { key, cert } = createIdentity().tlsOptions();
  const server = new TLSSocket(serverSide, { isServer: true, key, cert });
  const client = endOutsideReads(connect({ socket: clientSide, rejectUnauthorized: false }));
  await once(client, "secureConnect");
  client.write("?");
  await once(server, "data");
  toClient.hold();
  for (const text of ["first", "second"]) await new Promise((resolve) => server.write(text, resolve));
  server.end();
  await once(server, "finish");
  let received = "";
  client.on("data", (chunk: Buffer) => {
    received += chunk.toString();
    client.end();
  });
  toClient.release();
  await once(client, "end");
  expect(received).toBe("firstsecond");
});
