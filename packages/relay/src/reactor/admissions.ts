import type { AdmissionDecision, AdmissionQuestion } from "./reactor.ts";

/** Who was admitted and is still there: the living allocations, and whether more may come. */
export class Admissions {
  readonly #admitted = new Set<number>();
  readonly #waiting: (() => void)[] = [];
  #draining = false;

  /** Allocations that were admitted and have not ended. */
  get count(): number {
    return this.#admitted.size;
  }

  /** Whether nobody is left, nor will come. */
  get isDrained(): boolean {
    return this.#draining && this.#admitted.size === 0;
  }

  admit(question: Pick<AdmissionQuestion, "questionId">): AdmissionDecision {
    if (this.#draining) {
      return { admitted: false, code: 508, reason: "Insufficient Capacity: the relay is closing" };
    }
    this.#admitted.add(question.questionId);
    return { admitted: true };
  }

  release(questionId: number): void {
    this.#admitted.delete(questionId);
    this.#settle();
  }

  /** Admits nobody from now on. Resolves when the last one has ended. */
  drain(): Promise<void> {
    this.#draining = true;
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#settle();
    });
  }

  /** All have ended. */
  end(): void {
    this.#draining = true;
    this.#admitted.clear();
    this.#settle();
  }

  #settle(): void {
    if (this.isDrained) {
      for (const resolve of this.#waiting.splice(0)) {
        resolve();
      }
    }
  }
}
