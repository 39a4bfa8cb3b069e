import { PassThrough, Readable } from "node:stream";
import { run } from "../src/cli.ts";
import type { World } from "../src/world.ts";

interface Setup {
  readonly files?: Readonly<Record<string, string>>;
  readonly environment?: Readonly<Record<string, string>>;
  readonly unixMs?: number;
}

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
  readonly written?: Readonly<Record<string, string>>;
}

/** Runs the command in a world of given files and variables, and tells what it wrote. */
export async function turnpike(args: readonly string[], setup: Setup = {}): Promise<Outcome> {
  let out = "";
  let err = "";
  const written = new Map<string, string>();
  const world: World = {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    streams: () => ({ input: Readable.from([]), output: new PassThrough() }),
    isOutTerminal: false,
    isErrTerminal: false,
    environment: setup.environment ?? {},
    readFile: (path) => {
      const text = setup.files?.[path];
      if (text === undefined) throw Object.assign(new Error(`no such file: ${path}`), { code: "ENOENT" });
      return text;
    },
    writeNewFile: (path, text) => {
      if (setup.files?.[path] !== undefined) throw Object.assign(new Error(`it is there: ${path}`), { code: "EEXIST" });
      written.set(path, text);
    },
    unixMs: () => setup.unixMs ?? 1_800_000_000_000,
    random: (length) => new Uint8Array(length).fill(7),
    onStopSignal: () => () => {},
    onReloadSignal: () => () => {},
    fileState: () => undefined,
    every: () => () => {},
    exitNow: () => {},
    version: "1.2.3",
  };
  const code = await run(args, world);
  return { code, out, err, ...(written.size === 0 ? {} : { written: Object.fromEntries(written) }) };
}
