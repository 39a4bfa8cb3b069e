import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chownSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createClient } from "@redis/client";
import { Client } from "pg";

/** A server that a test may kill and start again, on the same port and files. */
export interface KillableServer {
  readonly url: string;
  /** SIGKILL. */
  kill(): Promise<void>;
  start(): Promise<void>;
  remove(): Promise<void>;
}

const START_ATTEMPTS = 200;
const PAUSE_MS = 50;

/** Debian's Redis on loopback, without files. */
export function redisServer(): Promise<KillableServer> {
  return killable({
    command: "redis-server",
    args: (port, folder) => ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder],
    url: (port) => `redis://127.0.0.1:${port}`,
    async ping(url) {
      const client = createClient({ url, socket: { reconnectStrategy: false } });
      client.on("error", () => {});
      await client.connect();
      await client.ping();
      client.destroy();
    },
  });
}

/** Debian's PostgreSQL on loopback, with a cluster of its own. It refuses to run as root. */
export function postgresServer(): Promise<KillableServer> {
  const [version = ""] = readdirSync("/usr/lib/postgresql").toSorted((a, b) => Number(b) - Number(a));
  const bin = `/usr/lib/postgresql/${version}/bin`;
  const idOf = (flag: string): number => Number(execFileSync("id", [flag, "postgres"], { encoding: "utf8" }));
  const isRoot = process.getuid?.() === 0;
  const as = isRoot ? { uid: idOf("-u"), gid: idOf("-g") } : {};
  return killable({
    command: `${bin}/postgres`,
    args: (port, folder) => [
      "-D",
      join(folder, "db"),
      "-p",
      String(port),
      "-c",
      "listen_addresses=127.0.0.1",
      "-k",
      folder,
    ],
    as,
    url: (port) => `postgres://turnpike@127.0.0.1:${port}/postgres`,
    prepare: (folder) => {
      execFileSync(`${bin}/initdb`, ["-D", join(folder, "db"), "-U", "turnpike", "-A", "trust"], {
        ...as,
        stdio: "ignore",
      });
    },
    async ping(url) {
      const client = new Client({ connectionString: url });
      client.on("error", () => {});
      await client.connect();
      await client.query("select 1");
      await client.end();
    },
  });
}

async function killable(kind: {
  readonly command: string;
  readonly args: (port: number, folder: string) => readonly string[];
  readonly as?: { readonly uid?: number; readonly gid?: number };
  readonly url: (port: number) => string;
  readonly prepare?: (folder: string) => void;
  readonly ping: (url: string) => Promise<void>;
}): Promise<KillableServer> {
  const folder = mkdtempSync(join(tmpdir(), "turnpike-server-"));
  const { uid, gid } = kind.as ?? {};
  if (uid !== undefined && gid !== undefined) chownSync(folder, uid, gid);
  kind.prepare?.(folder);
  const port = await freePort();
  const url = kind.url(port);
  let child: ChildProcess | undefined;
  const kill = async (): Promise<void> => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  };
  const start = async (): Promise<void> => {
    child = spawn(kind.command, kind.args(port, folder), { ...kind.as, stdio: "ignore" });
    for (let attempt = 0; attempt < START_ATTEMPTS; attempt++) {
      try {
        await kind.ping(url);
        return;
      } catch {
        // A killed database may find its lock file of before, and tries again.
        if (child.exitCode !== null)
          child = spawn(kind.command, kind.args(port, folder), { ...kind.as, stdio: "ignore" });
        await sleep(PAUSE_MS);
      }
    }
    throw new Error(`${kind.command} does not answer`);
  };
  await start();
  return {
    url,
    kill,
    start,
    async remove() {
      await kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** A TCP port of loopback that nobody has at the moment. */
export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
