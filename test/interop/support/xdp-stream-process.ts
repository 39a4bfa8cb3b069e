// One flow through a relay: `xdp-stream-process.ts SERVER PORT OWN_IP [SIZE]`. Sends a packet every five milliseconds by a
// channel to a peer of its own, which sends it back. Tells ten times a second, by a line of JSON, how many were sent, have
// reached the peer, and came back.
import { createSocket } from "node:dgram";
import { once } from "node:events";
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
import { SeededRandom } from "../../sim/support/random.ts";
import { outcomeOf, StunClient, stunOf } from "../../sim/support/stun-client.ts";

const [server = "", port = "3478", own = "", size = "172"] = process.argv.slice(2);
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
const counts = { sent: 0, reached: 0, received: 0 };
peer.on("message", (bytes, from) => {
  counts.reached++;
  peer.send(bytes, from.port, from.address, () => {});
});
const answers: ((message: StunMessage) => void)[] = [];
client.on("message", (bytes) => {
  if (bytes[0] === CHANNEL >> 8) counts.received++;
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

const packet = encodeChannelData(CHANNEL, new Uint8Array(Number(size)), { padded: false });
setInterval(() => {
  counts.sent++;
  client.send(packet, Number(port), server, () => {});
}, INTERVAL_MS);
setInterval(() => console.log(JSON.stringify(counts)), 100);

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
