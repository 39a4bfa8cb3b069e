import { defineConfig } from "vitest/config";

/** Tests run on the sources: every room exports them under this condition. */
const conditions = ["@turnpike/source", "node"];
const shared = { resolve: { conditions }, ssr: { resolve: { conditions } } };

export default defineConfig({
  test: {
    projects: [
      {
        ...shared,
        test: { name: "unit", include: ["packages/*/src/**/*.test.ts"] },
      },
      {
        ...shared,
        test: {
          name: "whole",
          include: ["test/{vectors,sim,contract,security,fuzz,e2e}/**/*.test.ts"],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        ...shared,
        test: {
          name: "peers",
          include: ["test/interop/**/*.test.ts"],
          testTimeout: 180_000,
          hookTimeout: 180_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
