/** ICE agents that others made, two of a kind: relayed candidates only, and data both ways. */
import { execFileSync, spawnSync } from "node:child_process";
import { beforeAll, describe, expect, test } from "vitest";
import { TestCertificate } from "../support/certificate.ts";
import { runChild } from "../support/child.ts";
import { PLANES, type PlaneUnderTest } from "../support/both-planes.ts";
import { ALICE } from "../support/relay.ts";

const certificate = new TestCertificate();
const COUNT = 50;
/** By Debian's own Python, whatever other is found first. */
const PYTHON = "/usr/bin/python3";

beforeAll(() => {
  if (spawnSync(PYTHON, ["-c", "import aioice"]).status === 0) return;
  const options = ["install", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"];
  execFileSync("apt-get", [...options, "python3-aioice"], { stdio: "ignore" });
});

/** Runs one of the scripts below against a relay; what it prints as JSON. */
async function run(script: string, transport: "udp" | "tcp" | "tls", start: PlaneUnderTest["start"]): Promise<unknown> {
  const listen = [transport === "udp" ? "udp:127.0.0.1:0" : "tcp:127.0.0.1:0"];
  const relay = await start({ listen, relayAddresses: ["127.0.0.1"], tls: certificate });
  const port = relay.listening[0]?.local.port ?? 0;
  const { code, output } = await runChild({
    command: PYTHON,
    args: ["-c", script, transport, String(port), ALICE.username, ALICE.password, String(COUNT)],
    environment: { SSL_CERT_FILE: certificate.cert },
    timeoutMs: 60_000,
  });
  expect(code, output).toBe(0);
  return JSON.parse(output.trim().split("\n").at(-1) ?? "");
}

const all = { candidates: ["relay", "relay"], received: [COUNT, COUNT] };

describe.each(PLANES)("python3-aioice, on the $plane plane", ({ start }) => {
  test.each(["udp", "tcp", "tls"] as const)("over %s", async (transport) => {
    expect(await run(AIOICE, transport, start)).toEqual(all);
  });
});

const AIOICE = `
import asyncio, json, sys
from aioice import Connection, TransportPolicy
transport, port, username, password, count = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5])

def connection(controlling):
    return Connection(
        ice_controlling=controlling, turn_server=("127.0.0.1", port), turn_username=username, turn_password=password,
        turn_transport="udp" if transport == "udp" else "tcp", turn_ssl=transport == "tls", use_ipv6=False,
        transport_policy=TransportPolicy.RELAY)

async def introduce(to, other):
    for candidate in other.local_candidates:
        await to.add_remote_candidate(candidate)
    await to.add_remote_candidate(None)
    to.remote_username, to.remote_password = other.local_username, other.local_password

async def main():
    pair = [connection(True), connection(False)]
    await asyncio.gather(*(each.gather_candidates() for each in pair))
    await introduce(pair[0], pair[1])
    await introduce(pair[1], pair[0])
    await asyncio.gather(*(each.connect() for each in pair))
    received = [0, 0]
    # One after the other: UDP between relay and relay may lose what comes in a heap.
    for number in range(count):
        for index in (0, 1):
            message = b"%d %d" % (index, number)
            await pair[index].send(message)
            received[1 - index] += await pair[1 - index].recv() == message
    candidates = [candidate.type for each in pair for candidate in each.local_candidates]
    print(json.dumps({"candidates": candidates, "received": received}))
    await asyncio.gather(*(each.close() for each in pair))

asyncio.run(main())
`;
