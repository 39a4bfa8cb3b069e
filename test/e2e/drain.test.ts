/** How a relay that is started by the command ends, and where its clients go meanwhile: with real signals. */
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseTransportAddress } from "@turnpike/stun";
import { afterAll, describe, expect, it } from "vitest";
import { type Child, runChild, startChild } from "../support/child.ts";
import { keep } from "../support/relay.ts";
import { UdpTurnClient } from "../support/udp-turn-client.ts";

const folder = mkdtempSync(join(tmpdir(), "turnpike-drain-"));
afterAll(() => rmSync(folder, { recursive: true }));

const START_MS = 60_000;
const RELAY = [
  "relay",
  "--listen=udp:127.0.0.1:0",
  "--relay-address=127.0.0.1",
  "--allow-peer=127.0.0.0/8",
  "--user=alice:wonderland",
  "--metrics=off",
  "--health=off",
  "--log-format=json",
];

async function start(args: readonly string[], environment: Readonly<Record<string, string>> = {}): Promise<Child> {
  const child = startChild({ command: "turnpike", args: [...RELAY, ...args], cwd: folder, environment });
  keep({
    async [Symbol.asyncDispose]() {
      child.signal("SIGKILL");
      await child.ended;
    },
  });
  await child.waitFor((it) => it.stderr().includes("The relay is serving"), START_MS);
  return child;
}

async function clientOf(child: Child): Promise<UdpTurnClient> {
  const server = parseTransportAddress(/"udp:([^"]+)"/.exec(child.stderr())?.[1] ?? "");
  return keep(await UdpTurnClient.open(server!, { username: "alice", password: "wonderland" }));
}

describe.each(["portable", "batched"])("a relay on the %s plane that drains", (plane) => {
  it("ends what is left when its time is over", async () => {
    const child = await start([`--plane=${plane}`, "--drain-timeout=1"]);
    const client = await clientOf(child);
    expect(await client.allocate()).toMatchObject({ family: 4 });
    child.signal("SIGTERM");
    expect(await child.ended).toBe(0);
    expect(child.stderr()).toContain("The time to drain is over: what is left is ended");
    expect(child.stderr()).toContain("The relay has stopped");
  });

  it("sends new clients to the others that it knows, and keeps its own", async () => {
    const file = join(folder, `${plane}.toml`);
    writeFileSync(file, '[[redirect.rule]]\nservers = ["192.0.2.7:3478"]\ndraining = true\n');
    const child = await start([`--plane=${plane}`, `--config=${file}`]);
    const client = await clientOf(child);
    expect(await client.allocate()).toMatchObject({ family: 4 });
    child.signal("SIGTERM");
    await child.waitFor((it) => it.stderr().includes("Draining: new allocations are refused"), START_MS);
    expect(await (await clientOf(child)).allocate()).toBe(300);
    expect(await client.refresh(600)).toBe("success");
    expect(await client.refresh(0)).toBe("success");
    expect(await child.ended).toBe(0);
  });
});

describe("--discover-addresses", () => {
  /** A metadata server as that of Google's cloud. */
  async function startMetadata(answers: Readonly<Record<string, string>>): Promise<string> {
    const server = createServer((request: IncomingMessage, response) => {
      const path = request.url?.replace("/computeMetadata/v1/instance/", "") ?? "";
      const answer = request.headers["metadata-flavor"] === "Google" ? answers[path] : undefined;
      response.writeHead(answer === undefined ? 404 : 200).end(answer);
    }).listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    keep({
      async [Symbol.asyncDispose]() {
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
      },
    });
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a TCP server has such an address
    return `127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  it("tells clients the address that the metadata service knows, by its own name and by the original relay's", async () => {
    const path = "network-interfaces/0/access-configs/0/external-ip";
    const GCE_METADATA_HOST = await startMetadata({ id: "1", [path]: "198.51.100.9" });
    for (const { args = [], ...environment } of [
      { args: ["--discover-addresses=gce_metadata"] },
      { LISTEN_ADDRESS_DISCOVERY_METHOD: "gce_metadata" },
    ]) {
      const child = await start([...args, "--drain-timeout=0"], { GCE_METADATA_HOST, ...environment });
      expect(await (await clientOf(child)).allocate()).toMatchObject({ family: 4, w3: 0xc6336409 | 0 });
      expect(await child.stop()).toBe(0);
    }
  });

  it("says what to do if nothing is known there", async () => {
    const GCE_METADATA_HOST = await startMetadata({});
    const args = [...RELAY, "--discover-addresses=gce_metadata"];
    const result = await runChild({
      command: "turnpike",
      args,
      cwd: folder,
      environment: { GCE_METADATA_HOST },
      timeoutMs: START_MS,
    });
    expect(result).toMatchObject({ code: 1, stdout: "" });
    expect(result.stderr).toContain("knows of no public address: name one by --external-address");
  });
});
