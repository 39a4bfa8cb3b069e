import { Worker } from "node:worker_threads";
import type { WorkerStart } from "./protocol.ts";

const isSource = import.meta.url.endsWith(".ts");
const FILE = new URL(isSource ? "./worker.ts" : "./worker.js", import.meta.url);
/** On the sources, a worker resolves the other rooms as its parent does. */
const OPTIONS = isSource
  ? { execArgv: ["--conditions=@turnpike/source", "--disable-warning=ExperimentalWarning"] }
  : {};

/** Starts a reactor on a thread of its own; it says `ready` by the port that it is given. */
export function startWorker(start: WorkerStart): Worker {
  const name = `reactor ${start.reactor}`;
  return new Worker(FILE, { ...OPTIONS, name, workerData: start, transferList: [start.port] });
}
