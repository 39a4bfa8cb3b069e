/** `npm test`: everything that needs nothing but npm. The last line is `N passed, N failed`. */
import { misPacked, publishedRooms } from "./lib/packages.ts";
import { Tally } from "./lib/tally.ts";

const CHECKS = ["build", "check:format", "check:lint", "check:types", "check:houses", "check:docs"] as const;

const tally = new Tally();
for (const check of CHECKS) tally.run(`npm run ${check}`, "npm", ["run", "--silent", check]);
tally.runVitest(["unit", "whole", "e2e"]);
for (const room of publishedRooms()) {
  tally.run(`publint packages/${room}`, "publint", [`packages/${room}`, "--strict", "--pack", "npm"]);
  const problems = misPacked(room);
  for (const problem of problems) console.error(problem);
  tally.count(`npm pack packages/${room}`, problems.length === 0);
}
tally.close();
