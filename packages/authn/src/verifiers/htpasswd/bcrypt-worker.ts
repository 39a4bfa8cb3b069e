import { parentPort } from "node:worker_threads";
import { compareSync } from "bcryptjs";

/** A question to the worker. */
export interface BcryptQuestion {
  readonly id: number;
  readonly password: string;
  readonly hash: string;
}

/** Its answer; `undefined` if the hash can't be read. */
export interface BcryptAnswer {
  readonly id: number;
  readonly same: boolean | undefined;
}

parentPort?.on("message", ({ id, password, hash }: BcryptQuestion) => {
  let same: boolean | undefined;
  try {
    same = compareSync(password, hash);
  } catch {
    same = undefined;
  }
  const answer: BcryptAnswer = { id, same };
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origin
  parentPort?.postMessage(answer);
});
