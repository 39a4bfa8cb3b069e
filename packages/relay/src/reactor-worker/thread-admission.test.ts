import { transportAddress } from "@turnpike/stun";
import fc from "fast-check";
import { expect, test } from "vitest";
import { OpenAdmission } from "../admission/open-admission.ts";
import type { AdmissionQuestion } from "../reactor/reactor.ts";
import { VirtualClock } from "../testing/virtual-clock.ts";
import type { FromWorker } from "./protocol.ts";
import { ThreadAdmission } from "./thread-admission.ts";

function questionOf(questionId: number): AdmissionQuestion {
  const client = transportAddress("198.51.100.7", 4000);
  return { kind: "admit", questionId, username: "1:a", actor: "a", scheme: "static", listener: 0, client };
}

function setUp(isOpen: boolean) {
  const owner = new OpenAdmission();
  owner.isOpen = isOpen;
  const posted: FromWorker[] = [];
  const source = { admits: true };
  const admission = new ThreadAdmission({
    open: new OpenAdmission(owner.memory),
    sourceRates: { admitsAllocation: () => source.admits },
    clock: new VirtualClock(),
    post: (message) => posted.push(message),
  });
  return { admission, owner, posted, source };
}

test("while admission is open, the main thread hears of nobody", () => {
  const { admission, posted, source } = setUp(true);
  expect(admission.admit(questionOf(1))).toEqual({ admitted: true });
  admission.commit(1);
  source.admits = false;
  expect(admission.admit(questionOf(2))).toMatchObject({ admitted: false, code: 486 });
  admission.release(1);
  expect(posted).toEqual([]);
});

test("one who drains admits nobody, and has the last one's end told", async () => {
  const { admission } = setUp(true);
  admission.admit(questionOf(1));
  const drained = admission.drain();
  expect(admission.admit(questionOf(2))).toMatchObject({ admitted: false, code: 508 });
  expect(admission.isDrained).toBe(false);
  admission.release(1);
  expect(admission.isDrained).toBe(true);
  await drained;
});

test("whatever changes when: the main thread can tell who lives, and hears of each end that it must know of", () => {
  const step = fc.record({ id: fc.nat({ max: 6 }), what: fc.constantFrom("ask", "end", "open", "close") });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const { admission, owner, posted } = setUp(true);
      const living = new Set<number>();
      /** As the main thread knows it by the messages, in their order. */
      const known = new Set<number>();
      const receive = (): void => {
        for (const message of posted.splice(0)) {
          if (message.kind === "admitted") for (const { questionId } of message.questions) known.add(questionId);
          else if (message.kind === "admit") {
            known.add(message.question.questionId);
            admission.settle(message.question.questionId, { admitted: true });
          } else if (message.kind === "commit") expect(known.has(message.questionId)).toBe(true);
          else if (message.kind === "release") expect(known.delete(message.questionId)).toBe(true);
        }
      };
      for (const { id, what } of steps) {
        if (what === "ask" && !living.has(id)) {
          expect(admission.admit(questionOf(id))).toEqual(owner.isOpen ? { admitted: true } : "later");
          living.add(id);
          admission.commit(id);
        } else if (what === "end" && living.delete(id)) {
          admission.release(id);
        } else if (what === "open") {
          owner.isOpen = true;
        } else if (what === "close") {
          owner.isOpen = false;
          admission.tellWhoLives();
        }
        receive();
        if (!owner.isOpen) expect(known).toEqual(living);
        for (const each of known) expect(living.has(each)).toBe(true);
      }
    }),
  );
});
