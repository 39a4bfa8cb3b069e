import { expect, test } from "vitest";
import { Ledger } from "./model/ledger.ts";
import { WildPlay } from "./model/wild-play.ts";

const RUNS = Number(process.env["TURNPIKE_PAIRING_RUNS"] ?? 3_000);
const FIRST_SEED = Number(process.env["TURNPIKE_PAIRING_SEED"] ?? 1);

/** `npm run test:pairing` plays 100,000 sequences. */
test(
  `created and deleted pair, in order, exactly once, over ${RUNS} wild plays from seed ${FIRST_SEED}`,
  { timeout: 3_600_000 },
  () => {
    let most = 0;
    for (let seed = FIRST_SEED; seed < FIRST_SEED + RUNS; seed++) {
      try {
        const play = new WildPlay(seed);
        play.run(20 + (seed % 100));
        most = Math.max(most, play.made);
      } catch (error) {
        throw new Error(`Play ${seed}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
      }
    }
    // Plays in which nothing happens would pair as well.
    expect(most).toBeGreaterThan(5);
  },
);

test("the books notice what doesn't pair", () => {
  const ledger = new Ledger();
  ledger.socketOpened(1);
  expect(() => ledger.close()).toThrow("every relay socket is closed");
  ledger.take({ kind: "closeRelaySocket", socket: 1 });
  expect(() => ledger.take({ kind: "closeRelaySocket", socket: 1 })).toThrow("closed once");
  expect(() => ledger.take({ kind: "releaseAdmission", questionId: 1 })).toThrow("released once");
  ledger.close();
});
