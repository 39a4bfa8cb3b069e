/** ICE agents that others made, two of a kind: relayed candidates only, and data both ways. */
import { beforeAll, describe, expect, test } from "vitest";
import { TestCertificate } from "../support/certificate.ts";
import { runChild } from "../support/child.ts";
import { PLANES, type PlaneUnderTest, PORTABLE } from "../support/both-planes.ts";
import { ALICE } from "../support/relay.ts";
import { ensureDebianPackages, PYTHON } from "./support/debian.ts";

const certificate = new TestCertificate();
const COUNT = 50;

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
  beforeAll(() => ensureDebianPackages({ packages: ["python3-aioice"], python: "import aioice" }));

  test.each(["udp", "tcp", "tls"] as const)("over %s", async (transport) => {
    expect(await run(AIOICE, transport, start)).toEqual(all);
  });
});

describe("gstreamer's libnice", () => {
  beforeAll(() =>
    ensureDebianPackages({
      packages: ["gstreamer1.0-nice", "gir1.2-gstreamer-1.0", "gir1.2-nice-0.1", "python3-gi"],
      python: `${GSTREAMER}assert Gst.ElementFactory.find("nicesrc")`,
    }),
  );

  // Its TLS is the pseudo-TLS of an old Google service, so there are two.
  test.each(["udp", "tcp"] as const)("over %s", async (transport) => {
    expect(await run(LIBNICE, transport, PORTABLE.start)).toEqual(all);
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

const GSTREAMER = `
import gi
gi.require_version("Gst", "1.0")
gi.require_version("Nice", "0.1")
from gi.repository import GLib, Gst, Nice
Gst.init(None)
`;

/** Each side has a pipeline: what is written to its pipe goes out by nicesink, what comes in by nicesrc is handed over. */
const LIBNICE = `${GSTREAMER}
import json, os, sys
transport, port, username, password, count = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5])
loop = GLib.MainLoop()

class Side:
    def __init__(self, index):
        self.index, self.received, self.gathered, self.ready = index, 0, False, False
        self.agent = agent = Nice.Agent.new(GLib.MainContext.default(), Nice.Compatibility.RFC5245)
        agent.props.controlling_mode = index == 0
        agent.props.force_relay, agent.props.ice_tcp, agent.props.upnp = True, False, False
        # Loopback is left out of what it finds by itself.
        local = Nice.Address.new()
        local.set_from_string("127.0.0.1")
        agent.add_local_address(local)
        self.stream = agent.add_stream(1)
        kind = Nice.RelayType.UDP if transport == "udp" else Nice.RelayType.TCP
        assert agent.set_relay_info(self.stream, 1, "127.0.0.1", port, username, password, kind)
        agent.connect("candidate-gathering-done", self.on_gathered)
        agent.connect("component-state-changed", self.on_state)
        read, self.pipe = os.pipe()
        self.pipeline = Gst.parse_launch(
            f"nicesrc name=source ! fakesink name=end signal-handoffs=true sync=false async=false "
            f"fdsrc fd={read} ! nicesink name=sink sync=false async=false")
        for name in ("source", "sink"):
            element = self.pipeline.get_by_name(name)
            element.props.agent, element.props.stream, element.props.component = agent, self.stream, 1
        self.pipeline.get_by_name("end").connect("handoff", self.on_buffer)
        self.pipeline.set_state(Gst.State.PLAYING)

    def on_gathered(self, *_):
        self.gathered = True
        if all(each.gathered for each in pair):
            introduce(pair[0], pair[1])
            introduce(pair[1], pair[0])

    def on_state(self, _agent, _stream, _component, state):
        if state == Nice.ComponentState.FAILED:
            sys.exit("no candidate pair works")
        if state == Nice.ComponentState.READY and not self.ready:
            self.ready = True
            if all(each.ready for each in pair):
                pair[0].send()

    def candidates(self):
        return self.agent.get_local_candidates(self.stream, 1)

    def message(self, number):
        return b"%d %d" % (self.index, number)

    # One after the other, as above; and a pipe keeps no boundaries.
    def send(self):
        os.write(self.pipe, self.message(pair[1 - self.index].received))

    def on_buffer(self, _sink, buffer, _pad):
        GLib.idle_add(self.on_data, buffer.extract_dup(0, buffer.get_size()))

    def on_data(self, data):
        if data != pair[1 - self.index].message(self.received):
            sys.exit(f"unexpected: {data}")
        self.received += 1
        if all(each.received == count for each in pair):
            loop.quit()
        else:
            self.send()

def introduce(to, other):
    _, name, password = other.agent.get_local_credentials(other.stream)
    assert to.agent.set_remote_credentials(to.stream, name, password)
    assert to.agent.set_remote_candidates(to.stream, 1, other.candidates()) > 0

pair = [Side(0), Side(1)]
for each in pair:
    assert each.agent.gather_candidates(each.stream)
loop.run()
candidates = ["relay" if candidate.type == Nice.CandidateType.RELAYED else str(candidate.type)
              for each in pair for candidate in each.candidates()]
print(json.dumps({"candidates": candidates, "received": [each.received for each in pair]}))
for each in pair:
    each.pipeline.set_state(Gst.State.NULL)
`;
