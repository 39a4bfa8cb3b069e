import { describeApi } from "@turnpike/portal";
import { metricsReference } from "@turnpike/relay/telemetry";
import { configurationReference } from "turnpike";

/** The pages that are made from code, by their path from the root. */
export async function generatedPages(): Promise<ReadonlyMap<string, string>> {
  return new Map([
    ["docs/configuration.md", configurationReference()],
    ["docs/metrics.md", metricsReference()],
    ["docs/openapi.json", `${JSON.stringify(await describeApi("0.1.0"), null, 2)}\n`],
  ]);
}
