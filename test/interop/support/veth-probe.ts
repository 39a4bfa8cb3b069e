// Run in the client's network namespace: `veth-probe.ts SERVER PORT OWN`. Talks through the relay at SERVER, with peers
// on OWN, and prints one JSON line: what came through, and what did not.
import {
  attribute,
  channelNumber,
  data,
  dontFragment,
  encodeChannelData,
  getAttribute,
  icmp,
  requestedTransport,
  type StunMessage,
  transportAddress,
  xorPeerAddress,
} from "@turnpike/stun";
import { SeededRandom } from "../../sim/support/random.ts";
import { outcomeOf, StunClient, stunOf } from "../../sim/support/stun-client.ts";
import { UdpPeer } from "../../support/udp-peer.ts";
import { relayedOf } from "../../support/udp-turn-client.ts";

/** What the probe found. */
export interface VethFindings {
  /** Sizes that reached the peer, and the client, whole. */
  readonly toPeer: readonly number[];
  readonly toClient: readonly number[];
  /** Packets of a run, each larger than the MTU, that arrived whole and in order. */
  readonly run: number;
  /** What a Send indication with DONT-FRAGMENT led to: the peer's bytes, or the ICMP report. */
  readonly smallDontFragment: number;
  readonly largeDontFragment: { readonly icmpType: number; readonly icmpCode: number; readonly errorData: number };
}

const CHANNEL = 0x4000;
const SIZES = [0, 1, 172, 1200, 1468, 1469, 1472, 1473, 3000, 9000, 30_000, 65_503];
const RUN = 12;
const RUN_BYTES = 2000;

const [server = "", port = "", own = ""] = process.argv.slice(2);
const relay = transportAddress(server, Number(port));
const client = await UdpPeer.open(own);
const peer = await UdpPeer.open(own);
const stun = new StunClient({ username: "u", password: "p" }, new SeededRandom(process.pid));
const bytes = (length: number, seed: number): Uint8Array =>
  Uint8Array.from({ length }, (_, index) => Math.imul(index + seed, 0x9e3779b1) >>> 24);

stun.learn(await ask(stun.plain("allocate", [attribute(requestedTransport, 17)])));
const relayed = relayedOf(await ask(stun.signed("allocate", [attribute(requestedTransport, 17)])));
if (typeof relayed === "number") throw new TypeError(`Not allocated: ${relayed}`);
const bound = [attribute(channelNumber, CHANNEL), attribute(xorPeerAddress, peer.local)];
const outcome = outcomeOf(await ask(stun.signed("channelBind", bound)));
if (outcome !== "success") throw new TypeError(`Not bound: ${outcome}`);

const toPeer: number[] = [];
const toClient: number[] = [];
for (const size of SIZES) {
  const sent = bytes(size, size);
  client.send(encodeChannelData(CHANNEL, sent), relay);
  if (Buffer.compare((await peer.receive()).bytes, sent) === 0) toPeer.push(size);
  peer.send(sent, relayed);
  if (Buffer.compare((await client.receive()).bytes.subarray(4), sent) === 0) toClient.push(size);
}

for (let index = 0; index < RUN; index++) peer.send(bytes(RUN_BYTES, index), relayed);
let run = 0;
for (let index = 0; index < RUN; index++) {
  if (Buffer.compare((await client.receive()).bytes.subarray(4), bytes(RUN_BYTES, index)) === 0) run++;
}

sendUnfragmented(bytes(100, 1));
const smallDontFragment = (await peer.receive()).bytes.length;
sendUnfragmented(bytes(3000, 1));
const report = getAttribute(stunOf((await client.receive()).bytes), icmp);
if (report?.ok !== true) throw new TypeError("There is no ICMP attribute");
const findings: VethFindings = { toPeer, toClient, run, smallDontFragment, largeDontFragment: report.value };
process.stdout.write(`${JSON.stringify(findings)}\n`);
await Promise.all([client.close(), peer.close()]);

async function ask(request: Uint8Array): Promise<StunMessage> {
  client.send(request, relay);
  return stunOf((await client.receive()).bytes);
}

function sendUnfragmented(payload: Uint8Array): void {
  const attributes = [attribute(xorPeerAddress, peer.local), attribute(dontFragment, true), attribute(data, payload)];
  client.send(stun.indication("send", attributes), relay);
}
