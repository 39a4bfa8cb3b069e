#!/usr/bin/env node
// Plain JavaScript that old versions parse too: they get a sentence in place of a syntax error.
import { statSync } from "node:fs";
import module from "node:module";
import { join } from "node:path";

const LOWEST = [22, 13];
const FLUSH_AFTER_MS = 5000;
const [major, minor] = process.versions.node.split(".").map(Number);

if (major < LOWEST[0] || (major === LOWEST[0] && minor < LOWEST[1])) {
  process.stderr.write(
    `turnpike: needs Node ${LOWEST.join(".")} or newer, but this is Node ${process.versions.node}. ` +
      "In a clone, `npx turnpike` runs on the right one; else install a newer Node from https://nodejs.org.\n",
  );
  process.exitCode = 1;
} else {
  keepCompiled();
  import("../dist/main.js").catch((error) => {
    const isMissing =
      error instanceof Error && error.code === "ERR_MODULE_NOT_FOUND" && /dist.main\.js/.test(error.message);
    process.stderr.write(
      isMissing
        ? "turnpike: not built yet: run `npm run build`\n"
        : `turnpike: ${error instanceof Error ? error.stack : error}\n`,
    );
    process.exitCode = 1;
  });
}

/**
 * Keeps compiled modules for the next start, on every thread. Who can write there runs code as this user, so only a
 * directory of this very user will do (not the caller's home under sudo); Node's default is one that all share.
 */
function keepCompiled() {
  const { CACHE_DIRECTORY, HOME, NODE_COMPILE_CACHE, XDG_CACHE_HOME } = process.env;
  // Where the variable is set, Node has done so itself.
  if (NODE_COMPILE_CACHE || !process.getuid) return;
  const base = CACHE_DIRECTORY || XDG_CACHE_HOME || HOME;
  if (!base) return;
  try {
    if (statSync(base).uid !== process.getuid()) return;
  } catch {
    return;
  }
  // What can't be written is told by a status, and no reason not to start.
  const directory = join(base, base === HOME ? ".cache/turnpike" : "turnpike", "compiled");
  module.enableCompileCache(directory);
  // The call is for this thread alone; others go by the variable.
  process.env.NODE_COMPILE_CACHE = directory;
  // A relay may be killed after months; what is written at an exit would then be lost.
  setTimeout(() => module.flushCompileCache?.(), FLUSH_AFTER_MS).unref();
}
