import type { LifecycleEvent } from "@turnpike/turn";
import type { MessagePort } from "node:worker_threads";
import type { Logger } from "../logger.ts";
import type { FromWorker, ToWorker } from "./protocol.ts";

/** The main thread, as a reactor knows it. Messages and events for it wait for {@link MainThread.send}. */
export class MainThread {
  /** Logs there. */
  readonly logger: Logger = {
    debug: (fields, message) => this.#log("debug", fields, message),
    info: (fields, message) => this.#log("info", fields, message),
    warn: (fields, message) => this.#log("warn", fields, message),
    error: (fields, message) => this.#log("error", fields, message),
  };
  /** Nothing is said any more. */
  readonly close: () => void;
  readonly #say: (messages: readonly FromWorker[]) => void;
  #messages: FromWorker[] = [];
  #events: LifecycleEvent[] = [];
  readonly #questions = new Map<number, PromiseWithResolvers<unknown>>();
  #lastQuestion = 0;

  constructor(port: MessagePort) {
    this.#say = (messages) => port.postMessage(messages);
    this.close = () => port.close();
  }

  /** Each message on its own would wake the main thread: those of a turn go together. */
  post(message: FromWorker): void {
    // What others made may not be cloneable: that must fail alone, and here.
    if (message.kind === "ask" || message.kind === "log") this.#say([message]);
    else this.#messages.push(message);
  }

  tell(event: LifecycleEvent): void {
    this.#events.push(event);
  }

  /** Asks what the main thread alone can answer. Rejects if it can't. */
  ask(question: unknown): Promise<unknown> {
    const id = ++this.#lastQuestion;
    const asked = Promise.withResolvers<unknown>();
    this.#questions.set(id, asked);
    this.post({ kind: "ask", id, question });
    return asked.promise;
  }

  /** It has answered what was asked, or can't. */
  settle(message: Extract<ToWorker, { kind: "answer" | "noAnswer" }>): void {
    const asked = this.#questions.get(message.id);
    this.#questions.delete(message.id);
    if (message.kind === "answer") asked?.resolve(message.answer);
    else asked?.reject(new Error(message.reason));
  }

  /** Sends what has gathered. */
  send(): void {
    if (this.#events.length > 0) {
      this.post({ kind: "events", events: this.#events });
      this.#events = [];
    }
    if (this.#messages.length > 0) {
      this.#say(this.#messages);
      this.#messages = [];
    }
  }

  #log(level: keyof Logger, fields: Readonly<Record<string, unknown>>, message: string): void {
    this.post({ kind: "log", level, fields: cloneable(fields), message });
  }
}

/** Errors cross threads as their text: what they carry beside may not be cloneable. */
function cloneable(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [
      name,
      value instanceof Error ? (value.stack ?? value.message) : value,
    ]),
  );
}
