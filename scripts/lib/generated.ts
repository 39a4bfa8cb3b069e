import { configurationReference } from "turnpike";

/** The pages that are made from code, by their path from the root. */
export function generatedPages(): ReadonlyMap<string, string> {
  return new Map([["docs/configuration.md", configurationReference()]]);
}
