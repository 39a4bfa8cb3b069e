import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseTransportAddress } from "@turnpike/stun";
import { expect, test } from "vitest";
import { UdpTurnClient } from "../support/udp-turn-client.ts";

test("the relay's example serves its user, and ends by itself when it is told to", async () => {
  const example = fileURLToPath(new URL("../../examples/relay.ts", import.meta.url));
  const child = spawn(process.execPath, ["--conditions=@turnpike/source", example], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exit = once(child, "exit");
  try {
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const url = (await lines.next()).value ?? "";
    const server = parseTransportAddress(/^turn:(.+)\?transport=udp$/.exec(url)?.[1] ?? "");
    if (server === undefined) {
      throw new Error(`No URL: ${url}`);
    }
    await using client = await UdpTurnClient.open(server, { username: "alice", password: "wonderland" });
    expect(await client.allocate()).toMatchObject({ family: 4 });
    expect((await lines.next()).value).toBe("authSucceeded");
    expect((await lines.next()).value).toBe("allocationCreated");
    child.kill("SIGTERM");
    expect((await lines.next()).value).toBe("allocationDeleted");
    expect(await exit).toEqual([0, null]);
  } finally {
    child.kill("SIGKILL");
  }
});
