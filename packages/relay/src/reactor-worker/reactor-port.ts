import { type MessagePort, receiveMessageOnPort } from "node:worker_threads";
import { Arena } from "../libc/arena.ts";
import * as L from "../libc/layout.ts";
import { type Libc, SystemCallError } from "../libc/libc.ts";
import type { FromWorker, ToWorker } from "./protocol.ts";

/**
 * The main thread's end of what it says to a reactor, which waits in a system call and not for messages: each has an
 * eventfd beside it that wakes the reactor, and a count in shared memory by which it sees that there is one.
 */
export class ReactorPort {
  /** Grows with each message. */
  readonly control: SharedArrayBuffer = new SharedArrayBuffer(4);
  /** An eventfd. */
  readonly wakeDescriptor: number;
  readonly #libc: Libc;
  readonly #count = new Int32Array(this.control);
  readonly #one: Arena;
  #port: MessagePort | undefined;
  /** What the thread is told once all is handled that it said. */
  #outgoing: ToWorker[] = [];
  #isListening = false;

  /** @throws {SystemCallError} if no eventfd can be had. */
  constructor(libc: Libc) {
    this.#libc = libc;
    this.#one = new Arena(libc, 64);
    this.#one.words[0] = 1;
    this.wakeDescriptor = libc.eventfd(0, L.EFD_NONBLOCK | L.EFD_CLOEXEC);
    if (this.wakeDescriptor < 0) throw new SystemCallError("eventfd", libc.errno(), "a reactor");
  }

  /** The port of the reactor that lives, if one does: another one's after each death. */
  get life(): MessagePort | undefined {
    return this.#port;
  }

  /** Begins a life: `take` gets what the reactor says. */
  open(port: MessagePort, take: (message: FromWorker) => void): void {
    this.#count.fill(0);
    this.#port = port;
    port.on("message", (messages: readonly FromWorker[]) => this.#listen(messages, take));
  }

  /** Ends the life of a reactor, after `take` got what it said before its end. */
  close(port: MessagePort, take: (message: FromWorker) => void): void {
    for (let last = receiveMessageOnPort(port); last !== undefined; last = receiveMessageOnPort(port)) {
      this.#listen(last.message, take);
    }
    port.close();
    this.#port = undefined;
  }

  /** Says something to the reactor that lives. */
  post(message: ToWorker): void {
    if (this.#port === undefined) return;
    this.#outgoing.push(message);
    if (!this.#isListening) this.#send();
  }

  wake(): void {
    this.#libc.write(this.wakeDescriptor, this.#one.address, 8);
  }

  /** Gives the eventfd back. */
  free(): void {
    this.#libc.close(this.wakeDescriptor);
  }

  #listen(messages: readonly FromWorker[], take: (message: FromWorker) => void): void {
    this.#isListening = true;
    try {
      for (const message of messages) take(message);
    } finally {
      this.#isListening = false;
      this.#send();
    }
  }

  #send(): void {
    const messages = this.#outgoing;
    if (messages.length === 0) return;
    this.#outgoing = [];
    this.#port?.postMessage(messages);
    Atomics.add(this.#count, 0, 1);
    this.wake();
  }
}
