import { distance } from "fastest-levenshtein";

/**
 * The candidate that is most like `name`, or undefined if none is near enough to be what was meant. Case, `-` and `_`
 * make no difference; of a dotted candidate, the last part alone may match.
 */
export function nearest(name: string, candidates: readonly string[]): string | undefined {
  const wanted = normalise(name);
  let best: string | undefined;
  let least = Math.max(2, Math.floor(wanted.length / 3)) + 1;
  for (const candidate of candidates) {
    const whole = normalise(candidate);
    const last = whole.slice(whole.lastIndexOf(".") + 1);
    // A match of the last part alone is a little worse than a match of the whole.
    const far = Math.min(distance(wanted, whole), distance(wanted, last) + 0.5);
    if (far < least) {
      least = far;
      best = candidate;
    }
  }
  return best;
}

function normalise(name: string): string {
  return name.toLowerCase().replaceAll("-", "_");
}
