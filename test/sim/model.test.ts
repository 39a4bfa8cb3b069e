import fc from "fast-check";
import { test } from "vitest";
import { action, Play } from "./model/play.ts";

const RUNS = Number(process.env["TURNPIKE_MODEL_RUNS"] ?? 6_000);
const SEED = Number(process.env["TURNPIKE_MODEL_SEED"] ?? 20_301_122);

/** Seeds that once found a difference, and a fixed one: `npm run test:model` plays 100,000 sequences. */
test(
  `the engine and the model of RFC 8656 agree over ${RUNS} random plays (seed ${SEED})`,
  { timeout: 3_600_000 },
  () => {
    fc.assert(
      fc.property(fc.array(action, { minLength: 5, maxLength: 60, size: "max" }), (actions) => {
        new Play().run(actions);
      }),
      { numRuns: RUNS, seed: SEED },
    );
  },
);
