import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

/** Tests run on the sources: every room exports them under this condition. */
const conditions = ["@turnpike/source", "node"];
const shared = { resolve: { conditions }, ssr: { resolve: { conditions } } };

const setupFiles = ["test/support/property-seed.ts"];

/**
 * Real processes and real sockets on a machine that others use too: what fails once is tried a second time, and Vitest
 * prints `(retry x1)` beside it; what is awaited has 20 seconds, if a test doesn't say otherwise. What runs on a virtual clock has one try.
 */
const REAL_WORLD = { retry: 1, expect: { poll: { timeout: 20_000 } } } as const;

export default defineConfig({
  test: {
    // Tests of processes and sockets wait more than they work: three share two cores well.
    maxWorkers: Math.max(3, availableParallelism()),
    projects: [
      {
        ...shared,
        test: { name: "unit", include: ["packages/*/src/**/*.test.ts"], setupFiles, testTimeout: 30_000 },
      },
      {
        ...shared,
        test: {
          name: "whole",
          include: ["test/{vectors,sim,contract,security,fuzz}/**/*.test.ts"],
          setupFiles,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        ...shared,
        test: {
          ...REAL_WORLD,
          name: "e2e",
          include: ["test/e2e/**/*.test.ts"],
          setupFiles,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        ...shared,
        test: {
          ...REAL_WORLD,
          name: "peers",
          include: ["test/interop/**/*.test.ts"],
          setupFiles,
          testTimeout: 180_000,
          hookTimeout: 180_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
