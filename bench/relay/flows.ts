import { randomInt } from "node:crypto";
import { Arena, type Libc, loadLibc, SocketFactory } from "@turnpike/relay";
import {
  attribute,
  channelNumber,
  decodeMessage,
  lifetime,
  requestedTransport,
  type StunMessage,
  type TransportAddress,
  transportAddress,
  xorPeerAddress,
} from "@turnpike/stun";
import { SeededRandom } from "../../test/sim/support/random.ts";
import { outcomeOf, StunClient, stunOf } from "../../test/sim/support/stun-client.ts";
import { relayedOf } from "../../test/support/udp-turn-client.ts";
import type { Load } from "./generator.ts";

/** A client's socket, and how its packets come out. */
export interface Flow {
  readonly fd: number;
  readonly client: TransportAddress;
  readonly channel: number;
  /** As the relay told it. */
  readonly relayed: TransportAddress;
  /** Ends the allocation. */
  readonly release: () => void;
}

/** Clients with a channel each, to one peer. */
export interface Flows {
  readonly peer: { readonly fd: number; readonly local: TransportAddress };
  readonly flows: readonly Flow[];
}

const WIRE = 0xc1;
const ATTEMPTS = 10;
const ATTEMPT_MS = 500;

/** Makes the allocations and channels of a load. @throws Error if the relay refuses one */
export function openFlows(load: Pick<Load, "protocol" | "server" | "serverPort" | "own" | "flows">): Flows {
  const found = loadLibc();
  if ("unavailable" in found) throw new Error(found.unavailable);
  const libc: Libc = found;
  const server = transportAddress(load.server, load.serverPort);
  const own = transportAddress(load.own, 0);
  const arena = new Arena(libc, 4096);
  const factory = new SocketFactory(libc, arena);
  const scratch = arena.reserve(2048);
  const peer = factory.open({ local: own });
  const flows = Array.from({ length: load.flows }, (_, index) => openFlow(0x4000 + (index % 16)));
  return { peer, flows };

  function openFlow(channel: number): Flow {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const { fd, local } = factory.open({ local: own, remote: server });
      const flow = load.protocol === "turn" ? allocate(fd, channel) : wire(fd, channel);
      if (flow !== undefined) return { ...flow, client: local };
    }
    throw new Error("The relay refused an allocation: every port has one already, or is answered without a challenge");
  }

  /** Undefined: an earlier run's allocation of this port has not ended. */
  function allocate(fd: number, channel: number): Omit<Flow, "client"> | undefined {
    const stun = new StunClient({ username: "u", password: "p" }, new SeededRandom(randomInt(2 ** 31)));
    const transport = attribute(requestedTransport, 17);
    const ask = (request: Uint8Array): StunMessage =>
      stunOf(exchange(fd, request, (bytes) => decodeMessage(bytes).ok && isAnswer(bytes, request)));
    const challenge = ask(stun.plain("allocate", [transport]));
    // coturn answers of a five-tuple that it holds on to after its allocation has ended without a challenge.
    if (outcomeOf(challenge) !== 401) return undefined;
    stun.learn(challenge);
    const relayed = relayedOf(ask(stun.signed("allocate", [transport])));
    if (relayed === 437) return undefined;
    if (typeof relayed === "number") throw new Error(`The relay refused an allocation: ${relayed}`);
    const wanted = [attribute(channelNumber, channel), attribute(xorPeerAddress, peer.local)];
    const outcome = outcomeOf(ask(stun.signed("channelBind", wanted)));
    if (outcome !== "success") throw new Error(`The relay refused a channel: ${outcome}`);
    const end = stun.signed("refresh", [attribute(lifetime, 0)]);
    return { fd, channel, relayed, release: () => send(fd, end) };
  }

  function wire(fd: number, channel: number): Omit<Flow, "client"> {
    const message = new DataView(new ArrayBuffer(10));
    message.setUint8(0, WIRE);
    message.setUint16(2, channel);
    message.setUint16(4, peer.local.port);
    message.setInt32(6, peer.local.w3);
    const reply = exchange(fd, new Uint8Array(message.buffer), (bytes) => bytes[0] === WIRE);
    const view = new DataView(reply.buffer, reply.byteOffset);
    // The yardstick keeps its channels for ever: they are wired anew by the next client of this port.
    const relayed = { ...server, port: view.getUint16(4), w3: view.getInt32(6) };
    return { fd, channel, relayed, release: () => {} };
  }

  /** Sends a request until it is answered. */
  function exchange(fd: number, request: Uint8Array, accept: (bytes: Uint8Array) => boolean): Uint8Array {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      send(fd, request);
      for (const until = performance.now() + ATTEMPT_MS; performance.now() < until; libc.usleep(100)) {
        const length = libc.read(fd, arena.address + scratch, 2048);
        if (length <= 0) continue;
        const bytes = arena.bytes.slice(scratch, scratch + length);
        if (accept(bytes)) return bytes;
      }
    }
    throw new Error(`No answer from ${load.server}:${load.serverPort}`);
  }

  function send(fd: number, bytes: Uint8Array): void {
    arena.bytes.set(bytes, scratch);
    libc.write(fd, arena.address + scratch, bytes.length);
  }
}

/** Whether it has the request's transaction ID: a busy relay may answer a request twice. */
function isAnswer(bytes: Uint8Array, request: Uint8Array): boolean {
  return Buffer.compare(bytes.subarray(8, 20), request.subarray(8, 20)) === 0;
}
