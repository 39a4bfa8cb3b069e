import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { startChild, type Child } from "../../support/child.ts";

/** A Redis server of one's own on loopback, in memory only. */
export interface RedisServer {
  readonly url: string;
  readonly child: Child;
  stop(): Promise<void>;
}

/** Starts Debian's `redis-server`, installing it if it is missing. */
export async function startRedis(): Promise<RedisServer> {
  if (spawnSync("which", ["redis-server"]).status !== 0) install("redis-server");
  const port = await freeTcpPort();
  const args = ["--port", `${port}`, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", "/tmp"];
  const child = startChild({ command: "redis-server", args });
  await child.waitFor((each) => each.output().includes("Ready to accept connections"), 20_000);
  return {
    url: `redis://127.0.0.1:${port}`,
    child,
    stop: async () => {
      await child.stop();
    },
  };
}

/** Installs a Debian package. @throws Error if that fails. */
export function install(name: string): void {
  const environment = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const apt = (...args: readonly string[]): boolean =>
    spawnSync("apt-get", [...args, "-o", "DPkg::Lock::Timeout=300"], { env: environment }).status === 0;
  const wanted = ["install", "-y", "--no-install-recommends", name];
  if (!apt(...wanted) && !(apt("update") && apt(...wanted))) throw new Error(`Cannot install ${name}`);
}

async function freeTcpPort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  if (typeof address !== "object" || address === null) throw new TypeError("No port");
  return address.port;
}
