import { chmod, lstat, rm } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { checkUnixPath } from "../handlers/unix.ts";
import { InvalidHintError } from "../hint-error.ts";
import { guardStream } from "../network.ts";
import type { ListenHandler } from "./handler.ts";
import { InvalidSpecError } from "./spec.ts";
import { closeServer } from "./tcp.ts";

/** `unix:/path`: a socket of mode 0600. A socket file that nobody listens on any more is replaced. */
export function createUnixListener(): ListenHandler {
  return {
    async listen(context) {
      const { spec, gate } = context;
      const path = spec.rest;
      try {
        checkUnixPath(path, { hint: spec.text, start: spec.type.length + 1 });
      } catch (error) {
        if (error instanceof InvalidHintError)
          throw new InvalidSpecError(spec.text, "the path must be absolute and short");
        throw error;
      }
      gate.checkListen({ kind: "unix", path });
      await removeStaleSocket(path);
      const server = createServer({ allowHalfOpen: true });
      server.on("connection", (socket) => context.accept(guardStream(socket), { remoteAddress: undefined }));
      server.maxConnections = 2 * context.maximumStreams;
      await new Promise<void>((resolve, reject) => {
        server.once("error", reject);
        server.listen({ path }, () => {
          server.removeListener("error", reject);
          server.on("error", () => undefined);
          resolve();
        });
      });
      await chmod(path, 0o600);
      return { bound: `unix:${path}`, hints: [`unix:${path}`], close: () => closeServer(server) };
    },
  };
}

async function removeStaleSocket(path: string): Promise<void> {
  const existing = await lstat(path).catch(() => undefined);
  if (existing === undefined || !existing.isSocket()) return;
  const answered = await new Promise<boolean>((resolve) => {
    const probe = connect({ path });
    probe.once("connect", () => {
      probe.destroy();
      resolve(true);
    });
    probe.once("error", () => resolve(false));
  });
  if (!answered) await rm(path, { force: true });
}
