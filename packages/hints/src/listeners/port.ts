import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { dirname } from "node:path";
import { bind } from "./tcp.ts";

/** Remembers the ports that specs such as `tcp:0` found, so that hints stay good over a restart. */
export interface PortStore {
  get(spec: string): Promise<number | undefined>;
  set(spec: string, port: number): Promise<void>;
}

/** Ports in a JSON file, `{"tcp:0": 40123}`. */
export function createPortStore(options: { readonly file: string }): PortStore {
  const { file } = options;
  const read = async (): Promise<Record<string, number>> => {
    let text: string;
    try {
      text = await readFile(file, "utf8");
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ENOENT") return {};
      throw error;
    }
    const ports: unknown = parseJson(text);
    if (!isPorts(ports)) throw new TypeError(`Cannot read the kept ports in ${file}: mend or delete it`);
    return ports;
  };
  let last: Promise<unknown> = Promise.resolve();
  return {
    get: async (spec) => (await read())[spec],
    set(spec, port) {
      const write = async (): Promise<void> => {
        await mkdir(dirname(file), { recursive: true });
        await writeFile(`${file}.new`, `${JSON.stringify({ ...(await read()), [spec]: port }, undefined, 2)}\n`);
        await rename(`${file}.new`, file);
      };
      // One after the other: two that wrote at once would lose one of the ports.
      const written = last.then(write);
      last = written.catch(() => undefined);
      return written;
    },
  };
}

/**
 * Finds a TCP port that is free on every address of this machine (or on `host`). It is free when this returns; nothing
 * holds it, so listen with port 0 where that is possible.
 */
export async function allocatePort(options: { readonly host?: string } = {}): Promise<number> {
  const server = createServer();
  const { port } = await bind(server, { host: options.host, port: 0 }, { signal: new AbortController().signal });
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isPorts(value: unknown): value is Record<string, number> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  return Object.values(value).every((port) => Number.isInteger(port) && port > 0 && port < 65_536);
}
