import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

test("examples/client.ts sends both ways and ends by itself", async () => {
  const example = fileURLToPath(new URL("../../../examples/client.ts", import.meta.url));
  const { stdout, stderr } = await promisify(execFile)(process.execPath, ["--conditions=@turnpike/source", example]);
  expect(stderr).toBe("");
  expect(stdout).toBe(
    [
      "received: hello through the relay",
      "from the sender's relayed address: true",
      "received: and back by a channel",
      "",
    ].join("\n"),
  );
});
