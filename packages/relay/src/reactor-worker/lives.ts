/** After a death, the next life begins at once; after deaths in a row, this long later at first, then twice as long. */
const FIRST_DELAY_MS = 100;
const LONGEST_DELAY_MS = 10_000;
/** A thread that lived this long did not die of its start. */
const SOUND_LIFE_MS = 10_000;

/** The lives of a thread that is started again when it has died: how long to wait before the next. */
export class Lives {
  #begunMs = 0;
  #deaths = 0;

  /** How often in a row it has died soon after its start. */
  get deaths(): number {
    return this.#deaths;
  }

  begin(nowMs: number): void {
    this.#begunMs = nowMs;
  }

  /** It has died. Returns how many milliseconds later it is to be started again. */
  end(nowMs: number): number {
    const wasSound = nowMs - this.#begunMs > SOUND_LIFE_MS;
    this.#deaths = wasSound ? 1 : this.#deaths + 1;
    return this.#deaths === 1 ? 0 : Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** (this.#deaths - 2));
  }
}
