/** The process: wires {@link run} to the real world. The launcher in `bin/` imports this file. */
import { randomBytes } from "node:crypto";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { run } from "./cli.ts";
import type { World } from "./world.ts";

const SIGNALS = ["SIGTERM", "SIGINT"] as const;

const world: World = {
  out: (text) => {
    process.stdout.write(text);
  },
  err: (text) => {
    process.stderr.write(text);
  },
  streams: () => ({ input: process.stdin, output: process.stdout }),
  isOutTerminal: process.stdout.isTTY,
  isErrTerminal: process.stderr.isTTY,
  environment: process.env,
  readFile: (path) => readFileSync(path, "utf8"),
  writeNewFile: (path, text) => writeFileSync(path, text, { flag: "wx", mode: 0o600 }),
  unixMs: Date.now,
  random: (length) => randomBytes(length),
  onStopSignal: (listener) => {
    for (const signal of SIGNALS) process.on(signal, listener);
    return () => {
      for (const signal of SIGNALS) process.off(signal, listener);
    };
  },
  onReloadSignal: (listener) => {
    process.on("SIGHUP", listener);
    return () => {
      process.off("SIGHUP", listener);
    };
  },
  fileState: (path) => {
    try {
      const { dev, ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
      return [dev, ino, size, mtimeNs, ctimeNs].join(":");
    } catch {
      return undefined;
    }
  },
  every: (intervalMs, callback) => {
    const timer = setInterval(callback, intervalMs).unref();
    return () => clearInterval(timer);
  },
  exitNow: (code) => process.exit(code),
  version: readVersion(),
};

// The reader of a pipe may leave early (`turnpike config print | head -1`): that is not a failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit(0);
});

process.exitCode = await run(process.argv.slice(2), world);

function readVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
  const isManifest = typeof manifest === "object" && manifest !== null && "version" in manifest;
  return isManifest ? String(manifest.version) : "unknown";
}
