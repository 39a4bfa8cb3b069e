import { type OpenAdmission, TOO_MANY_A_SECOND } from "../admission/open-admission.ts";
import type { SourceRates } from "../limits/source-rates.ts";
import { Admissions } from "../reactor/admissions.ts";
import type { Clock } from "../reactor/clock.ts";
import type { AdmissionDecision, AdmissionQuestion } from "../reactor/reactor.ts";
import type { FromWorker } from "./protocol.ts";

/** What {@link ThreadAdmission} is made with. */
export interface ThreadAdmissionOptions {
  readonly open: OpenAdmission;
  readonly sourceRates: Pick<SourceRates, "admitsAllocation">;
  readonly clock: Clock;
  /** Tells the main thread. */
  readonly post: (message: FromWorker) => void;
}

/**
 * Admission on a reactor's thread. While nothing is configured that takes one place to decide, the reactor admits by
 * itself, and the main thread hears of nobody; otherwise each question is the main thread's, which is told of all that
 * lives when that begins.
 */
export class ThreadAdmission {
  readonly #options: ThreadAdmissionOptions;
  readonly #admissions = new Admissions();
  /** Those admitted here of whom the main thread doesn't know. */
  readonly #untold = new Map<number, AdmissionQuestion>();

  constructor(options: ThreadAdmissionOptions) {
    this.#options = options;
  }

  /** Whether nobody is left, nor will come. */
  get isDrained(): boolean {
    return this.#admissions.isDrained;
  }

  /** May this user allocate? `later`: the main thread will tell, see {@link ThreadAdmission.settle}. */
  admit(question: AdmissionQuestion): AdmissionDecision | "later" {
    const { open, sourceRates, clock, post } = this.#options;
    const decision = this.#admissions.admit(question);
    if (!open.isOpen) {
      post({ kind: "admit", question, draining: !decision.admitted });
      return "later";
    }
    if (!sourceRates.admitsAllocation(question.client, clock.now().monotonicMs)) {
      this.#admissions.release(question.questionId);
      return TOO_MANY_A_SECOND;
    }
    if (decision.admitted) this.#untold.set(question.questionId, question);
    return decision;
  }

  /** The main thread has decided. */
  settle(questionId: number, decision: AdmissionDecision): void {
    if (!decision.admitted) this.#admissions.release(questionId);
  }

  /** An allocation that was admitted lives. */
  commit(questionId: number): void {
    if (!this.#untold.has(questionId)) this.#options.post({ kind: "commit", questionId });
  }

  /** An allocation that was admitted is gone, or never came to be. */
  release(questionId: number): void {
    if (!this.#untold.delete(questionId)) this.#options.post({ kind: "release", questionId });
    this.#admissions.release(questionId);
  }

  /** Tells the main thread who lives that it doesn't know of. */
  tellWhoLives(): void {
    if (this.#untold.size === 0) return;
    this.#options.post({ kind: "admitted", questions: [...this.#untold.values()] });
    this.#untold.clear();
  }

  /** Admits nobody from now on. Resolves when the last one has ended. */
  drain(): Promise<void> {
    return this.#admissions.drain();
  }

  /** All have ended. */
  end(): void {
    this.#admissions.end();
  }
}
