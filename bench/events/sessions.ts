// Sessions one after the other: `sessions.ts PORT COUNT PID`. Each is Allocate, ChannelBind and Refresh to zero, signed with
// one nonce. Prints the CPU seconds that the relay, process PID, took for them.
import { readdirSync, readFileSync } from "node:fs";
import { Arena, loadLibc, SocketFactory } from "@turnpike/relay";
import {
  attribute,
  channelNumber,
  decodeMessage,
  lifetime,
  requestedTransport,
  transportAddress,
  xorPeerAddress,
} from "@turnpike/stun";
import { SeededRandom } from "../../test/sim/support/random.ts";
import { outcomeOf, StunClient, stunOf } from "../../test/sim/support/stun-client.ts";

const [port = 0, count = 0, pid = 0] = process.argv.slice(2).map(Number);
const found = loadLibc();
if ("unavailable" in found) throw new Error(found.unavailable);
const libc = found;
const arena = new Arena(libc, 4096);
const factory = new SocketFactory(libc, arena);
const scratch = arena.reserve(2048);
const own = transportAddress("127.0.0.1", 0);
const peer = factory.open({ local: own });
const { fd } = factory.open({ local: own, remote: transportAddress("127.0.0.1", port) });
const stun = new StunClient({ username: "u", password: "p" }, new SeededRandom(process.pid));
const transport = attribute(requestedTransport, 17);
stun.learn(exchange(stun.plain("allocate", [transport])));
const session = (): void => {
  succeed(stun.signed("allocate", [transport]));
  succeed(stun.signed("channelBind", [attribute(channelNumber, 0x4000), attribute(xorPeerAddress, peer.local)]));
  succeed(stun.signed("refresh", [attribute(lifetime, 0)]));
};
for (let i = 0; i < count / 10; i++) session();
const before = cpuSeconds();
for (let i = 0; i < count; i++) session();
console.log(cpuSeconds() - before);

function succeed(request: Uint8Array): void {
  const outcome = outcomeOf(exchange(request));
  if (outcome !== "success") throw new Error(`The relay refused: ${outcome}`);
}

function exchange(request: Uint8Array): ReturnType<typeof stunOf> {
  arena.bytes.set(request, scratch);
  libc.write(fd, arena.address + scratch, request.length);
  for (const until = performance.now() + 10_000; performance.now() < until;) {
    const length = libc.read(fd, arena.address + scratch, 2048);
    if (length <= 0) continue;
    const bytes = arena.bytes.slice(scratch, scratch + length);
    if (decodeMessage(bytes).ok) return stunOf(bytes);
  }
  throw new Error("The relay did not answer within 10 s");
}

/** Of all threads of the relay. */
function cpuSeconds(): number {
  const tasks = readdirSync(`/proc/${pid}/task`);
  const ns = tasks.map((task) => Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, "utf8").split(" ")[0]));
  return ns.reduce((sum, each) => sum + each, 0) / 1e9;
}
