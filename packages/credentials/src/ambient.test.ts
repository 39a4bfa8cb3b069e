import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

/** Type-checks the pinned globals against the declarations of one runtime. */
function check(runtime: string): string {
  const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
  const project = at(`../test/ambient/tsconfig.${runtime}.json`);
  const { error, stdout } = spawnSync(at("../../../node_modules/.bin/tsc"), ["-p", project], { encoding: "utf8" });
  return error === undefined ? stdout : error.message;
}

describe("the ambient globals that this room uses", () => {
  test.each(["node", "browser", "worker"])("are those of %s", (runtime) => {
    expect(check(runtime)).toBe("");
  });

  test("are missed where there are none", () => {
    expect(check("nothing")).toContain(
      "missing the following properties from type 'AmbientGlobals<any>': crypto, TextEncoder, AbortController, btoa",
    );
  });
});
