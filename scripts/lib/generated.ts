import { describeApi, PORTAL_METRICS } from "@turnpike/portal";
import { metricsReference } from "@turnpike/relay/telemetry";
import { configurationReference } from "turnpike";

/** The pages that are made from code, by their path from the root. */
export async function generatedPages(): Promise<ReadonlyMap<string, string>> {
  return new Map([
    ["docs/configuration.md", configurationReference()],
    [
      "docs/metrics.md",
      metricsReference([
        {
          title: "Portal",
          text: "Of `turnpike portal`, and of `turnpike serve` beside the relay's, on the same listener.",
          metrics: Object.values(PORTAL_METRICS),
        },
      ]),
    ],
    ["docs/openapi.json", `${JSON.stringify(await describeApi("0.1.0"), null, 2)}\n`],
  ]);
}
