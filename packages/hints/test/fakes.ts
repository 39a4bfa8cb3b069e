import { Duplex } from "node:stream";
import fc from "fast-check";
import type { Clock, Dialer, DialTarget, Resolver } from "../src/index.ts";

/** A clock that only moves when told to. */
export class ManualClock implements Clock {
  #now = 0;
  #next = 0;
  readonly #timers: Map<number, { readonly at: number; readonly run: () => void }> = new Map();

  now(): number {
    return this.#now;
  }

  after(delayMilliseconds: number, run: () => void): () => void {
    this.#next += 1;
    const id = this.#next;
    this.#timers.set(id, { at: this.#now + delayMilliseconds, run });
    return () => this.#timers.delete(id);
  }

  /** Lets promises settle, then moves to each timer in turn until `milliseconds` have passed. */
  async advance(milliseconds: number): Promise<void> {
    const end = this.#now + milliseconds;
    for (;;) {
      await settle();
      const due = [...this.#timers].filter(([, { at }]) => at <= end).toSorted(([, a], [, b]) => a.at - b.at)[0];
      if (due === undefined) break;
      const [id, { at, run }] = due;
      this.#timers.delete(id);
      this.#now = Math.max(this.#now, at);
      run();
    }
    this.#now = end;
    await settle();
  }
}

/** Gives promises and streams a few turns of the event loop. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 12; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** Two streams, each the other end of the other. */
export function streamPair(): readonly [Duplex, Duplex] {
  const make = (): Duplex =>
    new Duplex({
      allowHalfOpen: true,
      read: () => undefined,
      write(chunk: Buffer, _encoding, done) {
        other(this).push(chunk);
        done();
      },
      final(done) {
        other(this).push(null);
        done();
      },
      destroy(error, done) {
        if (!other(this).destroyed) other(this).destroy();
        done(error);
      },
    });
  const left = make();
  const right = make();
  const other = (stream: Duplex): Duplex => (stream === left ? right : left);
  for (const stream of [left, right]) stream.on("error", () => undefined);
  return [left, right];
}

/** A network that records every dial and every question, and answers as it is told. */
export class FakeNetwork implements Dialer, Resolver {
  readonly dialled: DialTarget[] = [];
  readonly resolvedNames: string[] = [];
  readonly #answer: (target: DialTarget) => Duplex | undefined;
  readonly #names: (name: string, family: 4 | 6) => readonly string[];

  constructor(options: {
    readonly answer?: (target: DialTarget) => Duplex | undefined;
    readonly names?: (name: string, family: 4 | 6) => readonly string[];
  }) {
    this.#answer = options.answer ?? (() => undefined);
    this.#names = options.names ?? (() => []);
  }

  dial(target: DialTarget): Promise<Duplex> {
    this.dialled.push(target);
    const stream = this.#answer(target);
    if (stream === undefined) return Promise.reject(new Error("connect ECONNREFUSED"));
    return Promise.resolve(stream);
  }

  resolve(name: string, { family }: { readonly family: 4 | 6 }): Promise<readonly string[]> {
    this.resolvedNames.push(`${name}/${family}`);
    const addresses = this.#names(name, family);
    return addresses.length > 0 ? Promise.resolve(addresses) : Promise.reject(new Error(`ENOTFOUND ${name}`));
  }
}

/** Answers SOCKS5 on `stream` with success (or `reply`), notes what was asked for, then calls `afterwards`. */
export function answerSocks(
  stream: Duplex,
  options: {
    readonly reply?: number;
    readonly asked?: (host: string, port: number, username: string, password: string) => void;
    readonly afterwards?: (stream: Duplex) => void;
    readonly greetingAfterReply?: string;
  } = {},
): void {
  let pending = Buffer.alloc(0);
  let step: "methods" | "password" | "request" | "done" = "methods";
  let username = "";
  let password = "";
  const onData = (chunk: Buffer): void => {
    pending = Buffer.concat([pending, chunk]);
    for (;;) {
      if (step === "methods" && pending.length >= 2 && pending.length >= 2 + (pending[1] ?? 0)) {
        const methods = pending.subarray(2, 2 + (pending[1] ?? 0));
        pending = pending.subarray(2 + methods.length);
        step = methods.includes(2) ? "password" : "request";
        stream.write(Buffer.from([5, methods.includes(2) ? 2 : 0]));
      } else if (step === "password" && pending.length >= 2) {
        const userLength = pending[1] ?? 0;
        const passwordLength = pending[2 + userLength] ?? 0;
        if (pending.length < 3 + userLength + passwordLength) return;
        username = pending.subarray(2, 2 + userLength).toString();
        password = pending.subarray(3 + userLength, 3 + userLength + passwordLength).toString();
        pending = pending.subarray(3 + userLength + passwordLength);
        step = "request";
        stream.write(Buffer.from([1, 0]));
      } else if (step === "request" && pending.length >= 7) {
        const length = pending[3] === 1 ? 4 : pending[3] === 4 ? 16 : 1 + (pending[4] ?? 0);
        if (pending.length < 6 + length) return;
        const host =
          pending[3] === 3
            ? pending.subarray(5, 4 + length).toString()
            : pending[3] === 1
              ? [...pending.subarray(4, 8)].join(".")
              : (pending.subarray(4, 20).toString("hex").match(/.{4}/gu) ?? []).join(":");
        const port = pending.readUInt16BE(4 + length);
        pending = pending.subarray(6 + length);
        step = "done";
        stream.off("data", onData);
        stream.pause();
        options.asked?.(host, port, username, password);
        const head = Buffer.from([5, options.reply ?? 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        stream.write(Buffer.concat([head, Buffer.from(options.greetingAfterReply ?? "")]));
        if (options.reply !== undefined && options.reply !== 0) stream.end();
        else options.afterwards?.(stream);
        return;
      } else {
        return;
      }
    }
  };
  stream.on("data", onData);
}

/** One character of any kind, lone surrogates too. */
export const anyCharacter: fc.Arbitrary<string> = fc.oneof(
  fc.integer({ min: 0, max: 0x7f }).map((code) => String.fromCharCode(code)),
  fc.integer({ min: 0, max: 0x10ffff }).map((point) => String.fromCodePoint(point)),
);
