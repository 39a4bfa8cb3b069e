import { Worker } from "node:worker_threads";
import { Limiter } from "../limiter.ts";
import type { BcryptAnswer, BcryptQuestion } from "./bcrypt-worker.ts";

const MAX_QUEUED = 256;

/** Compares passwords with bcrypt hashes in a thread of its own, which starts with the first and keeps no process alive. */
export class BcryptThread {
  readonly #limiter: Limiter = new Limiter({ maxActive: 1, maxQueued: MAX_QUEUED });
  #worker: Worker | undefined;
  #fail: ((error: Error) => void) | undefined;
  #answered: ((answer: BcryptAnswer) => void) | undefined;
  #nextId = 0;
  #closed = false;

  /**
   * Whether `hash` was made of `password`.
   *
   * @throws OverloadedError if too many wait; Error if the thread failed, or the signal's reason
   */
  compare(password: string, hash: string, signal: AbortSignal | undefined): Promise<boolean> {
    return this.#limiter.run(async () => {
      if (this.#closed) throw new Error("the verifier was closed");
      const worker = (this.#worker ??= this.#start());
      const id = this.#nextId++;
      const { promise, resolve, reject } = Promise.withResolvers<boolean>();
      this.#fail = reject;
      this.#answered = (answer) => {
        if (answer.id !== id) return;
        if (answer.same === undefined) reject(new Error("the bcrypt hash can't be read"));
        else resolve(answer.same);
      };
      const question: BcryptQuestion = { id, password, hash };
      worker.ref();
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
      worker.postMessage(question);
      try {
        return await promise;
      } finally {
        worker.unref();
        this.#fail = undefined;
        this.#answered = undefined;
      }
    }, signal);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#fail?.(new Error("the verifier was closed"));
    await this.#worker?.terminate();
  }

  #start(): Worker {
    // The package runs from its sources in tests.
    const file = import.meta.url.endsWith(".ts") ? "./bcrypt-worker.ts" : "./bcrypt-worker.js";
    const worker = new Worker(new URL(file, import.meta.url));
    worker.on("message", (answer: BcryptAnswer) => this.#answered?.(answer));
    const end = (error: Error): void => {
      if (this.#worker === worker) this.#worker = undefined;
      this.#fail?.(error);
    };
    worker.on("error", (error) => end(error instanceof Error ? error : new Error(String(error))));
    worker.on("exit", () => end(new Error("the bcrypt thread ended")));
    worker.unref();
    return worker;
  }
}
