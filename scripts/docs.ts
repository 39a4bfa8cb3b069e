/** Writes the reference pages that are made from code. `check-docs.ts` fails when they are out of step. */
import { writeFileSync } from "node:fs";
import { ROOT } from "./lib/files.ts";
import { generatedPages } from "./lib/generated.ts";

for (const [path, text] of await generatedPages()) {
  writeFileSync(ROOT + path, text);
  console.log(`wrote ${path}`);
}
