import type { World } from "../world.ts";

/** Text on standard error that is drawn again in place on a terminal, and written once at its end elsewhere. */
export class StatusView {
  readonly #world: World;
  #drawn = "";

  constructor(world: World) {
    this.#world = world;
  }

  /** Shows `text`, if this is a terminal. */
  update(text: string): void {
    if (this.#world.isErrTerminal) this.#draw(text);
  }

  /** Shows `text` for good. */
  finish(text: string): void {
    if (this.#world.isErrTerminal) this.#draw(text);
    else if (text !== "") this.#world.err(`${text}\n`);
  }

  #draw(text: string): void {
    if (text === this.#drawn) return;
    const lines = this.#drawn === "" ? 0 : this.#drawn.split("\n").length;
    // Up to the first line of what was drawn, and clear from there on.
    const back = lines === 0 ? "" : `\r\u001b[${lines}A\u001b[J`;
    this.#world.err(`${back}${text}\n`);
    this.#drawn = text;
  }
}
