/**
 * Property tests play the same cases at every run that gates, so that a change fails for what it did. `TURNPIKE_SEED`
 * names other cases: a number, or `random` (fast-check prints the seed of what fails).
 */
import fc from "fast-check";

const DEFAULT_SEED = 20_489;
const chosen = process.env["TURNPIKE_SEED"] ?? String(DEFAULT_SEED);

if (chosen !== "random") {
  const seed = Number(chosen);
  if (!Number.isSafeInteger(seed)) throw new TypeError(`TURNPIKE_SEED is "${chosen}": give a whole number or "random"`);
  fc.configureGlobal({ seed });
}
