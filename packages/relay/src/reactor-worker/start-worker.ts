import { Worker } from "node:worker_threads";
import type { WorkerStart } from "./protocol.ts";

const isSource = import.meta.url.endsWith(".ts");
const FILE = new URL(isSource ? "./worker.ts" : "./worker.js", import.meta.url);
/** On the sources, a worker resolves the other rooms as its parent does. */
const OPTIONS = isSource
  ? { execArgv: ["--conditions=@turnpike/source", "--disable-warning=ExperimentalWarning"] }
  : {};
/**
 * A reactor's garbage is what requests leave: little, and the more of it is waited for, the more memory each thread
 * takes for good. By default V8 lets 48 MiB gather.
 */
const RESOURCE_LIMITS = { maxYoungGenerationSizeMb: 2 };

/** Starts a reactor on a thread of its own; it says `ready` by the port that it is given. */
export function startWorker(start: WorkerStart): Worker {
  const name = `reactor ${start.reactor}`;
  const options = { ...OPTIONS, name, resourceLimits: RESOURCE_LIMITS };
  return new Worker(FILE, { ...options, workerData: start, transferList: [start.port] });
}
