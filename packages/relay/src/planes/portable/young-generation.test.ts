import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";

const YOUNG_GENERATION = new URL("young-generation.ts", import.meta.url).href;

/** How large the young generation was at most, while much was made that lives on, which makes V8 double it. */
function largest(prepare: string): number {
  const script = `
    import { getHeapSpaceStatistics } from "node:v8";
    ${prepare}
    const living = [];
    let size = 0;
    for (let index = 0; index < 300_000; index++) {
      living.push({ index, text: String(index) });
      if (index % 1000 !== 0) continue;
      const { space_size } = getHeapSpaceStatistics().find(({ space_name }) => space_name === "new_space");
      size = Math.max(size, space_size);
    }
    console.log(size);`;
  return Number(execFileSync(process.execPath, ["--input-type=module", "--eval", script], { encoding: "utf8" }));
}

test("a young generation that is to stay small doesn't grow", () => {
  const from = JSON.stringify(YOUNG_GENERATION);
  const kept = largest(`import { keepYoungGenerationSmall } from ${from}; keepYoungGenerationSmall();`);
  const grown = largest("");
  expect(kept).toBeGreaterThan(0);
  expect(grown).toBeGreaterThanOrEqual(4 * kept);
});
