// One flow through a relay: `xdp-stream-process.ts SERVER PORT OWN_IP [SIZE [BUFFERS]]`. Sends a packet every five milliseconds by a
// channel to a peer of its own, which sends it back. Tells ten times a second, by a line of JSON, how many were sent, have
// reached the peer, and came back whole. `pieces`: the kernel keeps headers and payload of what is sent in different places.
// From SIGUSR1 on, it sends the client's packets with a VLAN tag.
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { loadLibc } from "@turnpike/relay";
import {
  attribute,
  channelNumber,
  decodeMessage,
  encodeChannelData,
  requestedTransport,
  type StunMessage,
  transportAddress,
  xorPeerAddress,
} from "@turnpike/stun";
import { loadSystem, Netlink } from "@turnpike/xdp";
import { SeededRandom } from "../../sim/support/random.ts";
import { outcomeOf, StunClient, stunOf } from "../../sim/support/stun-client.ts";
import { frameOf } from "./frames.ts";

const [server = "", port = "3478", own = "", size = "172", buffers = ""] = process.argv.slice(2);
const CHANNEL = 0x4001;
const INTERVAL_MS = 5;
const ATTEMPT_MS = 1000;
const ATTEMPTS = 20;

const stun = new StunClient({ username: "u", password: "p" }, new SeededRandom(process.pid));
const client = createSocket("udp4");
const peer = createSocket("udp4");
for (const socket of [client, peer]) {
  // A relay that is gone is told of by ICMP.
  socket.on("error", () => {});
  socket.bind(0, own);
  await once(socket, "listening");
}
if (buffers === "pieces") sendInPieces();
const payload = Uint8Array.from({ length: Number(size) }, (_none, index) => index % 251);
const packet = Buffer.from(encodeChannelData(CHANNEL, payload, { padded: false }));
const counts = { sent: 0, reached: 0, received: 0 };
peer.on("message", (bytes, from) => {
  counts.reached++;
  peer.send(bytes, from.port, from.address, () => {});
});
const answers: ((message: StunMessage) => void)[] = [];
client.on("message", (bytes) => {
  if (bytes[0] === CHANNEL >> 8 && packet.equals(bytes)) counts.received++;
  if (decodeMessage(bytes).ok) answers.shift()?.(stunOf(bytes));
});

const transport = attribute(requestedTransport, 17);
stun.learn(await ask(() => stun.plain("allocate", [transport])));
await ask(() => stun.signed("allocate", [transport]));
const wanted = [
  attribute(channelNumber, CHANNEL),
  attribute(xorPeerAddress, transportAddress(own, peer.address().port)),
];
const outcome = outcomeOf(await ask(() => stun.signed("channelBind", wanted)));
if (outcome !== "success") throw new Error(`The relay refused a channel: ${outcome}`);

let send = (): void => client.send(packet, Number(port), server, () => {});
process.once("SIGUSR1", () => (send = taggedSender()));
setInterval(() => {
  counts.sent++;
  send();
}, INTERVAL_MS);
setInterval(() => console.log(JSON.stringify(counts)), 100);

/** What may be more than one packet (UDP_SEGMENT) is made of pages, even if it is one. */
function sendInPieces(): void {
  const libc = loadLibc();
  if ("unavailable" in libc) throw new Error(libc.unavailable);
  const [SOL_UDP, UDP_SEGMENT] = [17, 103];
  const segment = new Uint8Array(new Int32Array([1400]).buffer);
  const set = readdirSync("/proc/self/fd").filter(
    (fd) => libc.setsockopt(Number(fd), SOL_UDP, UDP_SEGMENT, libc.addressOf(segment), segment.length) === 0,
  );
  if (set.length !== 2) throw new Error(`${set.length} sockets send in pieces`);
}

/** Sends the client's packets as frames of VLAN 7, past its socket. */
function taggedSender(): () => void {
  const [AF_PACKET, SOCK_RAW] = [17, 3];
  const system = loadSystem();
  const netlink = new Netlink(system);
  const link = netlink.link("veth0");
  const [source, destination] = [transportAddress(own, client.address().port), transportAddress(server, Number(port))];
  const relay = link && netlink.neighbour(link.index, Uint8Array.from(server.split("."), Number));
  if (link === undefined || relay === undefined) throw new Error("The relay's link address is not known");
  const frame = frameOf(
    { source, destination, payload: packet, trafficClass: 0 },
    { linkDestination: relay, linkSource: link.address },
  );
  const tagged = Uint8Array.of(...frame.subarray(0, 12), 0x81, 0, 0, 7, ...frame.subarray(12));
  // `struct sockaddr_ll`: family, protocol, interface.
  const address = new Uint8Array(20);
  const view = new DataView(address.buffer);
  view.setUint16(0, AF_PACKET, true);
  view.setInt32(4, link.index, true);
  const raw = system.socket(AF_PACKET, SOCK_RAW, 0);
  if (raw < 0 || system.bind(raw, address) < 0) throw new Error(`Cannot send frames: error ${system.errno()}`);
  return () => {
    if (system.send(raw, tagged) < 0) throw new Error(`Cannot send a frame: error ${system.errno()}`);
  };
}

async function ask(request: () => Uint8Array): Promise<StunMessage> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const answered = Promise.withResolvers<StunMessage | undefined>();
    answers.splice(0, answers.length, answered.resolve);
    const timer = setTimeout(() => answered.resolve(undefined), ATTEMPT_MS);
    client.send(request(), Number(port), server);
    const answer = await answered.promise;
    clearTimeout(timer);
    if (answer !== undefined) return answer;
  }
  throw new Error(`No answer from ${server}:${port}`);
}
