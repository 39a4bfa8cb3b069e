import type { FromWorker } from "./protocol.ts";

/** What a thread answers when it is asked. */
export type Reply = Extract<FromWorker, { kind: "described" | "ended" }>;

/** What was asked of a thread. Each question is settled once, at the latest when the thread has ended. */
export class ThreadQuestions {
  readonly #asked = new Map<number, (answer: Reply | undefined) => void>();
  #last = 0;

  /** Sends a question by its number. Resolves with the answer, or undefined if the thread ends first. */
  ask(send: (id: number) => void): Promise<Reply | undefined> {
    const id = ++this.#last;
    return new Promise((resolve) => {
      this.#asked.set(id, resolve);
      send(id);
    });
  }

  settle(reply: Reply): void {
    this.#asked.get(reply.id)?.(reply);
    this.#asked.delete(reply.id);
  }

  /** The thread has ended: nobody answers any more. */
  abandon(): void {
    for (const resolve of this.#asked.values()) resolve(undefined);
    this.#asked.clear();
  }
}
