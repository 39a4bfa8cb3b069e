// A steady stream through a relay: `fault-stream.ts SERVER PORT OWN_IP`. A numbered packet each millisecond by a channel to
// a peer of its own, and one from the peer. Prints `{"boundMs":…}` when it has the channel; answers each line of its
// input with what has arrived since the last one, an `Arrivals` as a line of JSON. Times are milliseconds of
// CLOCK_MONOTONIC.
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createInterface } from "node:readline";
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
import { SeededRandom } from "../../test/sim/support/random.ts";
import { outcomeOf, StunClient, stunOf } from "../../test/sim/support/stun-client.ts";
import { relayedOf } from "../../test/support/udp-turn-client.ts";

/** Number and time of each packet that arrived, by where. */
export interface Arrivals {
  readonly toPeer: readonly (readonly [number, number])[];
  readonly toClient: readonly (readonly [number, number])[];
}

const [server = "", port = "3478", own = ""] = process.argv.slice(2);
const CHANNEL = 0x4001;
const SIZE = 172;
const HEADER = 4;
const ATTEMPT_MS = 1000;
const ATTEMPTS = 20;

const nowMs = (): number => Number(process.hrtime.bigint()) / 1e6;
const stun = new StunClient({ username: "u", password: "p" }, new SeededRandom(process.pid));
const client = createSocket("udp4");
const peer = createSocket("udp4");
for (const socket of [client, peer]) {
  // A relay that is gone is told of by ICMP.
  socket.on("error", () => {});
  socket.bind(0, own);
  await once(socket, "listening");
}
const toPeer: [number, number][] = [];
const toClient: [number, number][] = [];
const answers: ((message: StunMessage) => void)[] = [];
peer.on("message", (bytes) => toPeer.push([bytes.readUInt32BE(0), nowMs()]));
client.on("message", (bytes) => {
  if (bytes[0] === CHANNEL >> 8) toClient.push([bytes.readUInt32BE(HEADER), nowMs()]);
  else if (decodeMessage(bytes).ok) answers.shift()?.(stunOf(bytes));
});

const transport = attribute(requestedTransport, 17);
stun.learn(await ask(() => stun.plain("allocate", [transport])));
const relayed = relayedOf(await ask(() => stun.signed("allocate", [transport])));
if (typeof relayed === "number") throw new Error(`The relay refused an allocation: ${relayed}`);
const wanted = [
  attribute(channelNumber, CHANNEL),
  attribute(xorPeerAddress, transportAddress(own, peer.address().port)),
];
const outcome = outcomeOf(await ask(() => stun.signed("channelBind", wanted)));
if (outcome !== "success") throw new Error(`The relay refused a channel: ${outcome}`);
console.log(JSON.stringify({ boundMs: nowMs() }));

let number = 0;
const payload = Buffer.alloc(SIZE);
const relayedPort = relayed.port;
setInterval(() => {
  payload.writeUInt32BE(number++);
  client.send(encodeChannelData(CHANNEL, payload, { padded: false }), Number(port), server, () => {});
  peer.send(Buffer.from(payload), relayedPort, server, () => {});
}, 1);
createInterface({ input: process.stdin })
  .on("line", () => {
    const arrivals: Arrivals = { toPeer: toPeer.splice(0), toClient: toClient.splice(0) };
    console.log(JSON.stringify(arrivals));
  })
  .on("close", () => process.exit());

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
