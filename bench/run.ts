/** `npm run bench`: the codec and the engine by themselves, then the quick half of the relay's measurements. */
import { spawnSync } from "node:child_process";

for (const [script, ...args] of [["bench:codec"], ["bench:relay", "--", "--quick"]] as const) {
  const { status } = spawnSync("npm", ["run", "--silent", script, ...args], { stdio: "inherit" });
  if (status !== 0) {
    console.error(`npm run ${script} failed`);
    process.exit(1);
  }
}
