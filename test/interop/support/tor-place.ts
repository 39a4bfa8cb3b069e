import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Duplex, PassThrough } from "node:stream";
import { Connector, type TorSettings } from "@turnpike/hints";
import { type Coturn, startStreamCoturn } from "./coturn.ts";
import { ensureDebianPackages } from "./debian.ts";
import { startTorNetwork, type TorNetwork } from "./tornet.ts";

export const loopback = (port: number) => ({ kind: "tcp", address: "127.0.0.1", port }) as const;
export const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** A private Tor network, and what its exit reaches: an echo server and coturn. */
export interface TorPlace {
  readonly network: TorNetwork;
  readonly echoPort: number;
  readonly coturn: Coturn;
  /** A directory for the files of the tests, removed at the end. */
  readonly directory: string;
  /** What is to be closed before the network stops. */
  readonly closing: (() => Promise<unknown>)[];
  /** A connector that may reach nothing but its Tor; the exit's echo server on loopback is the one exception it may name. */
  readonly hiddenConnector: (tor: TorSettings) => Connector;
  stop(): Promise<void>;
}

export async function startTorPlace(): Promise<TorPlace> {
  ensureDebianPackages({
    packages: ["coturn", "tor", "strace"],
    commands: ["turnserver", "tor", "tor-gencert", "strace"],
  });
  const directory = await mkdtemp(join(tmpdir(), "hints-tor-"));
  const echo = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => undefined);
    socket.pipe(socket);
  });
  await new Promise<void>((resolve) => echo.listen(0, "127.0.0.1", resolve));
  const echoPort = (echo.address() as AddressInfo).port;
  const coturn = await startStreamCoturn();
  const network = await startTorNetwork({ exitPorts: [echoPort, coturn.port, coturn.tlsPort] });
  const closing: (() => Promise<unknown>)[] = [];
  return {
    network,
    echoPort,
    coturn,
    directory,
    closing,
    hiddenConnector(tor) {
      const connector = new Connector({
        policy: { revealIpAddress: false, allow: ["127.0.0.1"] },
        tcp: "tor",
        tor,
        race: { torAttemptTimeoutMilliseconds: 90_000, deadlineMilliseconds: 150_000 },
      });
      closing.push(() => connector.close());
      return connector;
    },
    async stop() {
      await Promise.all(closing.map((close) => close()));
      await network.stop();
      await coturn[Symbol.asyncDispose]();
      echo.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** Sends bytes to an echo and reads them back. */
export async function exchange(stream: Duplex, bytes: Buffer): Promise<Buffer> {
  const output = new PassThrough();
  const chunks: Buffer[] = [];
  const all = new Promise<void>((resolve, reject) => {
    let missing = bytes.length;
    output.on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      missing -= chunk.length;
      if (missing === 0) resolve();
    });
    stream.once("error", reject);
    stream.once("end", () => reject(new Error("the stream ended early")));
  });
  stream.pipe(output);
  stream.write(bytes);
  await all;
  stream.destroy();
  return Buffer.concat(chunks);
}
