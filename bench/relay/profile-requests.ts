import { join } from "node:path";
import { startSampling } from "./perf.ts";
import { type Profile, profileOf, profileTable } from "./profile-table.ts";
import { type Operation, operations, RequestLoad } from "./request-load.ts";
import { requestPartOf, type RequestPart, requestParts, samplesOf } from "./request-samples.ts";
import type { Subject } from "./subjects.ts";

/** Samples a second: requests are measured in stretches of milliseconds, which are short of samples. */
const FREQUENCY = 4999;
/** Not counted: what is compiled as it runs is compiled by then. */
const WARM_ROUNDS = 60;
const COSTED_ROUNDS = 60;
const SAMPLED_ROUNDS = 150;

/**
 * What each kind of request costs a relay on `ip`. Samples between the exchanges belong to none. The cost is that of rounds
 * without samples: where threads take turns on the core, as coturn's do, perf makes each change of them dearer.
 */
export async function profileRequests(
  subject: Subject,
  ip: string,
  folder: string,
): Promise<ReadonlyMap<Operation, Profile<RequestPart>>> {
  const load = new RequestLoad(subject, ip);
  for (let round = 0; round < WARM_ROUNDS; round++) load.round();
  const costed = Array.from({ length: COSTED_ROUNDS }, () => load.round()).flat();
  const sampling = await startSampling(subject.pid, FREQUENCY, join(folder, "requests.data"));
  const sampled = Array.from({ length: SAMPLED_ROUNDS }, () => load.round()).flat();
  const samples = samplesOf(await sampling.stop(), sampled);
  return new Map(
    operations.map((operation) => {
      const all = costed.filter((each) => each.operation === operation);
      const cpuUs = all.reduce((sum, { cpuNs }) => sum + cpuNs, 0) / 1000;
      const requests = all.reduce((sum, each) => sum + each.requests, 0);
      const found = samples.filter(([exchange]) => exchange.operation === operation);
      const parts = found.map(([, { frames }]) => requestPartOf(frames));
      return [operation, profileOf(subject.name, cpuUs / requests, parts)];
    }),
  );
}

/** A section for each kind of request, of all relays beside each other. */
export function requestSections(profiles: readonly ReadonlyMap<Operation, Profile<RequestPart>>[]): readonly string[] {
  return operations.flatMap((operation) => {
    const beside = profiles.flatMap((each) => each.get(operation) ?? []);
    return [`## Request: ${operation}`, "", ...profileTable("request", requestParts, beside), ""];
  });
}
