// Bursts, to one relay or reactor after the other: `burst-generator.ts IP PORT,… FLOWS`, told what to send by messages
// (`BurstOrder`) of the process that started it. It is to run on the relays' own core, before them (SCHED_FIFO): a burst
// is whole before its first packet is taken, and nothing is sent until all of it has arrived. So the batches are the
// load's, not the scheduler's.
import { once } from "node:events";
import { Arena, loadLibc } from "@turnpike/relay";
import { encodeChannelData } from "@turnpike/stun";
import { openFlows } from "./flows.ts";

/** Packets to send: to each group in turns, one by each of its flows, which are numbered over all ports. */
export interface BurstOrder {
  readonly groups: readonly (readonly number[])[];
  /** 0: end. */
  readonly turns: number;
}

/** Says that all of an order has arrived, and of the start that all flows are open. */
export interface BurstReply {
  readonly lost: number;
}

const PAYLOAD_BYTES = 172;
/** What a reactor has for a burst until it is looked whether all has arrived, and until it is looked again. */
const BURST_US = 1500;
const MORE_US = 500;
const MAX_LOOKS = 200;
const SCRATCH_BYTES = 2048;

const [server = "", ports = "", count = "0"] = process.argv.slice(2);
const libc = loadLibc();
if ("unavailable" in libc) throw new Error(libc.unavailable);
const arena = new Arena(libc, 2 * SCRATCH_BYTES);
const flows = ports.split(",").flatMap((port) => {
  const opened = openFlows({
    protocol: "turn",
    server,
    serverPort: Number(port),
    own: server,
    flows: Number(count),
  });
  return opened.flows.map((flow) => ({ ...flow, peer: opened.peer.fd }));
});

let order = await nextOrder(0);
while (order.turns > 0) {
  let lost = 0;
  for (let turn = 0; turn < order.turns; turn++) for (const group of order.groups) lost += burst(group);
  order = await nextOrder(lost);
}
for (const { release } of flows) release();
process.disconnect?.();

async function nextOrder(lost: number): Promise<BurstOrder> {
  const told = once(process, "message");
  const reply: BurstReply = { lost };
  process.send?.(reply);
  // Given by system-calls.ts alone.
  const [given]: BurstOrder[] = await told;
  return given ?? { groups: [], turns: 0 };
}

/** How many of them never arrived. */
function burst(group: readonly number[]): number {
  if ("unavailable" in libc) return group.length;
  const peers = new Set<number>();
  for (const number of group) {
    const flow = flows[number];
    if (flow === undefined) continue;
    peers.add(flow.peer);
    const packet = encodeChannelData(flow.channel, new Uint8Array(PAYLOAD_BYTES));
    arena.bytes.set(packet);
    libc.write(flow.fd, arena.address, packet.length);
  }
  let missing = group.length;
  for (let looks = 0; missing > 0 && looks < MAX_LOOKS; looks++) {
    libc.usleep(looks === 0 ? BURST_US : MORE_US);
    for (const peer of peers) {
      while (libc.read(peer, arena.address + SCRATCH_BYTES, SCRATCH_BYTES) > 0) missing--;
    }
  }
  return missing;
}
