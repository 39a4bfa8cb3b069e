import { createHash, randomBytes } from "node:crypto";
import {
  BatchedPlane,
  createTimeSource,
  type BatchedPlaneOptions,
  HairpinMap,
  type Libc,
  type Opened,
  type PacketReceiver,
  PortLeases,
  PortTable,
  Reactor,
  RelaySockets,
  silentLogger,
  TurnClock,
} from "@turnpike/relay";
import {
  AddressRegister,
  attribute,
  channelNumber,
  requestedTransport,
  type StunMessage,
  type TransportAddress,
  transportAddress,
  xorPeerAddress,
} from "@turnpike/stun";
import { nodeCrypto } from "@turnpike/stun/node";
import { createPeerPolicy, TurnServer } from "@turnpike/turn";
import { SeededRandom } from "../sim/support/random.ts";
import { staticUsers } from "../sim/support/authentication.ts";
import { outcomeOf, StunClient, stunOf } from "../sim/support/stun-client.ts";
import { relayedOf } from "./udp-turn-client.ts";

const LOOPBACK = transportAddress("127.0.0.1", 0);
const CREDENTIALS = { username: "alice", password: "wonderland" };

/** What an {@link InlineRelay} is made with. */
export interface InlineRelayOptions extends Omit<BatchedPlaneOptions, "onAwake"> {
  /** Their passwords. Default: that of Alice. */
  readonly users?: Readonly<Record<string, string>>;
  /** Where it listens. Default: on a port of 127.0.0.1 that is free. */
  readonly local?: TransportAddress;
}

/** A relay on the batched plane whose turns its owner takes: no thread, no event loop, nothing else in the heap. */
export class InlineRelay {
  readonly plane: BatchedPlane;
  readonly server: TransportAddress;
  readonly #clock: TurnClock;

  constructor({ users = { alice: "wonderland" }, local = LOOPBACK, ...options }: InlineRelayOptions) {
    const clock = new TurnClock(createTimeSource(options.libc));
    this.#clock = clock;
    const plane = new BatchedPlane({ ...options, onAwake: () => clock.tick() });
    this.plane = plane;
    this.server = opened((done) => plane.openListener(0, local, done)).local;
    const relayAddresses = [{ local: LOOPBACK, relayed: LOOPBACK }];
    const hairpin = new HairpinMap({ relayAddresses, ownAddresses: [] });
    const random = new SeededRandom(createHash("sha256").update(randomBytes(8)).digest().readUInt32LE(0));
    const randomInteger = (bound: number): number => Buffer.from(random.bytes(4)).readUInt32LE(0) % bound;
    const table = new PortTable({ range: { min: 49152, max: 65535 }, spaces: 1 });
    const relaySockets = new RelaySockets({
      plane,
      leases: new PortLeases({ table, reactor: 0, randomInteger }),
      addresses: relayAddresses,
      hairpin,
      logger: silentLogger,
      randomInteger,
      monotonicMs: () => clock.now().monotonicMs,
    });
    const engine = new TurnServer({
      crypto: nodeCrypto,
      random: (length) => randomBytes(length),
      realm: "turnpike",
      listeners: [{ id: 0, transport: "udp", local: this.server }],
      authenticate: staticUsers(users),
      peerPolicy: createPeerPolicy({ allow: ["127.0.0.0/8"] }),
      hairpin,
      nonceKey: randomBytes(32),
      unauthenticatedBytesPerSecond: 1e9,
    });
    const admit = (): { readonly admitted: boolean } => ({ admitted: true });
    const reactor = new Reactor({
      engine,
      plane,
      relaySockets,
      clock,
      logger: silentLogger,
      admit,
      release: () => {},
    });
    plane.start(reactor);
  }

  turn(timeoutMs: number): number {
    const packets = this.plane.turn(timeoutMs);
    this.#clock.fire();
    return packets;
  }
}

/** A client of an {@link InlineRelay}, and the peer that its channel leads to. */
export interface Flow {
  /** The generator plane's sockets. */
  readonly client: number;
  readonly peer: number;
  readonly channel: number;
  readonly relayed: TransportAddress;
}

/** Clients and peers on a plane of their own, driven by the same thread. */
export class Generator implements PacketReceiver {
  readonly plane: BatchedPlane;
  readonly flows: Flow[] = [];
  readonly #relay: InlineRelay;
  readonly #server = new AddressRegister();
  /** What each socket is: a client's (1) or a peer's (2). */
  readonly #roles: Uint8Array = new Uint8Array(65_536);
  #answer: StunMessage | undefined;
  /** Whether packets are sent back where they came from. */
  echo = true;

  constructor(libc: Libc, relay: InlineRelay) {
    this.#relay = relay;
    this.#server.set(relay.server);
    this.plane = new BatchedPlane({ libc });
    this.plane.start(this);
  }

  /** Allocates and binds a channel to a socket of its own. */
  addFlow(channel: number): Flow {
    const client = opened((done) => this.plane.openRelaySocket(LOOPBACK, done)).socket;
    const peer = opened((done) => this.plane.openRelaySocket(LOOPBACK, done));
    this.#roles[client] = 1;
    this.#roles[peer.socket] = 2;
    const stun = new StunClient(CREDENTIALS, new SeededRandom(channel * 7919 + client));
    stun.learn(this.#exchange(client, stun.plain("allocate", [attribute(requestedTransport, 17)])));
    const relayed = relayedOf(this.#exchange(client, stun.signed("allocate", [attribute(requestedTransport, 17)])));
    if (typeof relayed === "number") throw new TypeError(`Not allocated: ${relayed}`);
    const wanted = [attribute(channelNumber, channel), attribute(xorPeerAddress, peer.local)];
    const outcome = outcomeOf(this.#exchange(client, stun.signed("channelBind", wanted)));
    if (outcome !== "success") throw new TypeError(`Not bound: ${outcome}`);
    const flow = { client, peer: peer.socket, channel, relayed };
    this.flows.push(flow);
    return flow;
  }

  send(flow: Flow, bytes: Uint8Array): void {
    this.plane.sendToPeer(flow.client, this.#relay.server, bytes, 0, bytes.length, false);
  }

  handlePeerPacket: PacketReceiver["handlePeerPacket"] = (socket, from, buffer, offset, length) => {
    const role = this.#roles[socket];
    if (role === 1 && ((buffer[offset] ?? 0) & 0xc0) === 0) {
      this.#answer = stunOf(buffer.slice(offset, offset + length));
    } else if (this.echo) {
      this.plane.sendToPeer(socket, role === 1 ? this.#server : from, buffer, offset, length, false);
    }
  };

  handleClientPacket(): void {}
  handlePeerIcmp(): void {}
  handleRelaySocketError(): void {}

  #exchange(client: number, request: Uint8Array): StunMessage {
    this.#answer = undefined;
    this.plane.sendToPeer(client, this.#relay.server, request, 0, request.length, false);
    this.#relay.turn(1000);
    this.plane.turn(1000);
    if (this.#answer === undefined) throw new Error("No answer");
    return this.#answer;
  }
}

function opened(open: (done: (opened: Opened) => void) => void): Extract<Opened, { kind: "opened" }> {
  let result: Opened | undefined;
  open((given) => (result = given));
  if (result?.kind !== "opened") throw new Error(`Not opened: ${result?.code}`);
  return result;
}
