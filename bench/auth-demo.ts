// The demonstration of the credential cache, in real time (some 30 s): npm run bench:auth-demo
import { ScryptDigester, Secret, systemClock, systemScheduler } from "@turnpike/authn";
import { demonstrate, EXPIRY_SECONDS, PROVIDER_MS } from "../test/sim/support/auth-demonstration.ts";

// The penalties' own timers keep no process alive.
const alive = setInterval(() => {}, 60_000);
const rows = await demonstrate({ clock: systemClock, scheduler: systemScheduler, random: Math.random });
clearInterval(alive);

const digester = new ScryptDigester();
const digestMs: number[] = [];
for (let i = 0; i < 21; i++) {
  const startMs = performance.now();
  await digester.digest(new Secret("right"), digester.salt());
  digestMs.push(performance.now() - startMs);
}
const medianMs = digestMs.toSorted((a, b) => a - b)[10] ?? Number.NaN;

console.log(
  `Provider: ${PROVIDER_MS} ms. Cache: ${EXPIRY_SECONDS} s. Penalty: 4 to 5 s. A digest: ${medianMs.toFixed(1)} ms.\n`,
);
console.log("| sign-in | answer | took | provider asked |\n| --- | --- | ---: | --- |");
for (const { what, answer, tookMs, asked } of rows) {
  console.log(`| ${what} | ${answer} | ${tookMs.toFixed(1)} ms | ${asked ? "yes" : "no"} |`);
}
