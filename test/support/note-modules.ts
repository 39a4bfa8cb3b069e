/** Preloaded by `--import` into every thread of a process: notes each module that is loaded, in a file for each thread. */
import { appendFileSync } from "node:fs";
import { registerHooks } from "node:module";
import { join } from "node:path";
import { threadId } from "node:worker_threads";

const folder = process.env["NOTED_MODULES"] ?? "";

registerHooks({
  load(url, context, nextLoad) {
    appendFileSync(join(folder, String(threadId)), `${url}\n`);
    return nextLoad(url, context);
  },
});
