import type { AmbientGlobals } from "../../src/ambient.ts";

// Compiled once for each runtime, against that runtime's own declarations: see src/ambient.test.ts.
globalThis satisfies AmbientGlobals<InstanceType<typeof AbortController>["signal"]>;
