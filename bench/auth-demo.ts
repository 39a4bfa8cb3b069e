// The demonstration of the credential cache, in real time (some 30 s): npm run bench:auth-demo
import { ScryptDigester, systemClock, systemScheduler } from "@turnpike/authn";
import { demonstrate, EXPIRY_SECONDS, PROVIDER_MS } from "../test/sim/support/auth-demonstration.ts";

// The penalties' own timers keep no process alive.
const alive = setInterval(() => {}, 60_000);
const rows = await demonstrate({
  clock: systemClock,
  scheduler: systemScheduler,
  digester: new ScryptDigester(),
  random: Math.random,
});
clearInterval(alive);

console.log(`Provider: ${PROVIDER_MS} ms. Cache: ${EXPIRY_SECONDS} s. Penalty: 4 to 5 s.\n`);
console.log("| sign-in | answer | took | of it the digest | provider asked |\n| --- | --- | ---: | ---: | --- |");
for (const { what, answer, tookMs, digestMs, asked } of rows) {
  console.log(
    `| ${what} | ${answer} | ${tookMs.toFixed(1)} ms | ${digestMs.toFixed(1)} ms | ${asked ? "yes" : "no"} |`,
  );
}
