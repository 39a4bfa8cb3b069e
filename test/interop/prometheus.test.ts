/** A relay's metrics, as Debian's Prometheus scrapes and judges them. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { spawnSync } from "node:child_process";
import { beforeAll, expect, it } from "vitest";
import { type Child, startChild } from "../support/child.ts";
import { freePorts } from "../support/free-ports.ts";
import { keep } from "../support/relay.ts";
import { ensureDebianPackages } from "./support/debian.ts";

beforeAll(() => ensureDebianPackages({ packages: ["prometheus"], commands: ["prometheus", "promtool"] }));

function start(command: string, args: readonly string[]): Child {
  const child = startChild({ command, args });
  keep({
    async [Symbol.asyncDispose]() {
      await child.stop();
    },
  });
  return child;
}

it("promtool finds nothing to say of the metrics, and Prometheus scrapes them", async () => {
  const folder = mkdtempSync(join(tmpdir(), "turnpike-prometheus-"));
  keep({ [Symbol.asyncDispose]: () => Promise.resolve(rmSync(folder, { recursive: true, force: true })) });
  const port = await freePorts(2);
  const target = `127.0.0.1:${port}`;
  const relay = start("turnpike", [
    "relay",
    "--listen=udp:127.0.0.1:0",
    "--relay-address=127.0.0.1",
    "--user=alice:wonderland",
    `--metrics=${target}`,
    "--health=off",
    "--log-format=json",
  ]);
  await relay.waitFor((it) => it.stderr().includes("The relay is serving"), 30_000);
  const text = await (await fetch(`http://${target}/metrics`)).text();
  expect(text).toContain("turnpike_relay_allocations 0");
  const judged = spawnSync("promtool", ["check", "metrics"], { input: text, encoding: "utf8" });
  expect(judged).toMatchObject({ status: 0, stdout: "", stderr: "" });

  const configuration = join(folder, "prometheus.yml");
  writeFileSync(
    configuration,
    `global: { scrape_interval: 1s }\nscrape_configs: [{ job_name: relay, static_configs: [{ targets: ["${target}"] }] }]\n`,
  );
  start("prometheus", [
    `--config.file=${configuration}`,
    `--storage.tsdb.path=${join(folder, "data")}`,
    `--web.listen-address=127.0.0.1:${port + 1}`,
  ]);
  const ask = async (): Promise<unknown> => {
    const query = `http://127.0.0.1:${port + 1}/api/v1/query?query=turnpike_relay_allocations`;
    const answer = await fetch(query).then(
      (response) => response.json() as Promise<{ data?: { result?: { value: [number, string] }[] } }>,
      () => undefined,
    );
    return answer?.data?.result?.[0]?.value[1];
  };
  await expect.poll(ask, { timeout: 30_000, interval: 250 }).toBe("0");
});
