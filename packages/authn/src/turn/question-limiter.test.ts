import { transportAddress } from "@turnpike/stun";
import { describe, expect, test } from "vitest";
import { QuestionLimiter, TooManyQuestionsError } from "./question-limiter.ts";

const client = (ip: string) => transportAddress(ip, 1);

describe("QuestionLimiter", () => {
  test("lets as many ask as it may, in all and of one prefix, and forgets those who are done", async () => {
    const limiter = new QuestionLimiter({ maxConcurrent: 3, maxConcurrentPerPrefix: 2 });
    const gates: (() => void)[] = [];
    const ask = async (ip: string): Promise<string> =>
      limiter.run(client(ip), async () => {
        const { promise, resolve } = Promise.withResolvers<string>();
        gates.push(() => resolve(ip));
        return promise;
      });
    const first = ask("192.0.2.1");
    const second = ask("192.0.2.255");
    await expect(ask("192.0.2.3")).rejects.toThrow(TooManyQuestionsError);
    await expect(ask("::ffff:192.0.2.3")).rejects.toThrow(TooManyQuestionsError);
    const third = ask("192.0.3.1");
    await expect(ask("2001:db8::1")).rejects.toThrow("too many questions");
    expect(limiter.open).toBe(3);
    for (const open of gates) open();
    expect(await Promise.all([first, second, third])).toEqual(["192.0.2.1", "192.0.2.255", "192.0.3.1"]);
    expect(limiter.open).toBe(0);
  });

  test("counts a /56 of IPv6 as one", async () => {
    const limiter = new QuestionLimiter({ maxConcurrentPerPrefix: 1 });
    const { promise, resolve } = Promise.withResolvers<void>();
    const first = limiter.run(client("2001:db8:0:100::1"), async () => promise);
    await expect(limiter.run(client("2001:db8:0:1ff::2"), async () => promise)).rejects.toThrow();
    const other = limiter.run(client("2001:db8:0:200::1"), async () => promise);
    resolve();
    await Promise.all([first, other]);
  });

  test("forgets who failed", async () => {
    const limiter = new QuestionLimiter({ maxConcurrent: 1 });
    const fail = async () => limiter.run(client("192.0.2.1"), async () => Promise.reject(new Error("down")));
    await expect(fail()).rejects.toThrow("down");
    await expect(fail()).rejects.toThrow("down");
    expect(limiter.open).toBe(0);
  });

  test.each([{ maxConcurrent: 0 }, { maxConcurrentPerPrefix: 1.5 }, { maxConcurrent: Number.NaN }])(
    "refuses %j",
    (limits) => {
      expect(() => new QuestionLimiter(limits)).toThrow(RangeError);
    },
  );
});
