import {
  attribute,
  channelNumber,
  connectionId,
  encodeChannelData,
  getAttribute,
  lifetime,
  mobilityTicket,
  requestedTransport,
  type EncodedAttribute,
  type TransportAddress,
  transportAddress,
  xorPeerAddress,
} from "@turnpike/stun";
import { nodeCrypto } from "@turnpike/stun/node";
import { type Answer, createPeerPolicy, type Listener, type Output, type PeerPolicy, TurnServer } from "@turnpike/turn";
import { staticUsers } from "../support/authentication.ts";
import { VirtualClock } from "../support/clock.ts";
import { sourceOf, TCP_LISTENER, UDP_LISTENER } from "../support/engine-harness.ts";
import { ownAddresses } from "../support/hairpin.ts";
import { SeededRandom } from "../support/random.ts";
import { StunClient, stunOf } from "../support/stun-client.ts";
import { Ledger } from "./ledger.ts";

const USERS: Readonly<Record<string, string>> = { alice: "wonderland", bob: "builder" };
const decide = staticUsers(USERS);
const PEERS = ["8.8.8.8", "1.1.1.1", "10.0.0.1", "192.0.2.1"].map((ip) => transportAddress(ip, 5000));
const SECONDS = [0, 1, 10, 29, 31, 40, 299, 301, 599, 601, 3601];

interface WildClient {
  readonly address: TransportAddress;
  readonly listener: Listener;
  readonly stun: StunClient;
  ticket: Uint8Array;
  last: Uint8Array | undefined;
}

/**
 * A play without rules: clients do anything in any order, the world answers late, refuses or breaks, administrators end
 * what they like. Whatever happens, the books must pair. A seed names a play.
 */
export class WildPlay {
  readonly ledger = new Ledger();
  readonly #random: SeededRandom;
  readonly #clock = new VirtualClock();
  readonly #server: TurnServer;
  #policy: PeerPolicy = createPeerPolicy();
  readonly #clients: readonly WildClient[];
  /** Answers that the world has yet to give. */
  #open: (() => Answer)[] = [];
  readonly #connections: number[] = [];
  readonly #connectionIds: number[] = [];
  #next = 0;

  constructor(seed: number) {
    const random = new SeededRandom(seed);
    this.#random = random;
    const pendingAuthentications = random.chance(0.3);
    this.#server = new TurnServer({
      crypto: nodeCrypto,
      random: (length) => random.bytes(length),
      realm: "example.org",
      listeners: [UDP_LISTENER, TCP_LISTENER],
      authenticate: (request) => {
        const decision = decide(request);
        if (random.chance(0.05)) return { kind: "discarded" };
        if (!pendingAuthentications) return decision;
        const { questionId } = request;
        this.#open.push(() => ({ kind: "authentication", questionId, decision }));
        return { kind: "pending" };
      },
      peerPolicy: { decide: (peer) => this.#policy.decide(peer) },
      hairpin: ownAddresses(["192.0.2.1"], () => true),
      nonceKey: new Uint8Array(32).fill(7),
      events: true,
      admission: random.chance(0.7),
      tcpRelay: true,
      mobility: true,
      trafficReportSeconds: 100,
      maxPermissionsPerAllocation: 3,
      unauthenticatedBytesPerSecond: 1e9,
    });
    this.#clients = Array.from({ length: 5 }, (_, index) => {
      const username = index % 2 === 0 ? "alice" : "bob";
      const password = random.chance(0.9) ? (USERS[username] ?? "") : "wrong";
      return {
        address: transportAddress("198.51.100.7", 40_000 + index),
        listener: index < 3 ? UDP_LISTENER : TCP_LISTENER,
        stun: new StunClient({ username, password }, random),
        ticket: new Uint8Array(8),
        last: undefined,
      };
    });
  }

  /** Allocations that were made. */
  get made(): number {
    return this.ledger.made;
  }

  run(steps: number): void {
    for (let step = 0; step < steps; step++) {
      this.#step();
      this.#drain();
      if (this.#server.allocationCount !== this.ledger.living)
        throw new Error("Events and engine differ in what lives");
    }
    this.#server.shutdown(this.#clock);
    this.#drain();
    // What was asked before the end may be answered after it.
    while (this.#open.length > 0) this.#answerOne();
    this.ledger.close();
  }

  #step(): void {
    const random = this.#random;
    const client = random.pick(this.#clients);
    const dice = random.integer(100);
    if (dice < 50) this.#request(client);
    else if (dice < 70) this.#answerOne();
    else if (dice < 78) this.#advance(random.pick(SECONDS));
    else if (dice < 82 && client.last !== undefined) this.#send(client, client.last);
    else if (dice < 86) this.#send(client, encodeChannelData(0x4000 + random.integer(2), random.bytes(3)));
    else if (dice < 89) this.#server.handleClientClosed(sourceOf(client.address, client.listener), this.#clock);
    else if (dice < 91) this.#server.handleRelaySocketError(random.integer(this.#next + 1), this.#clock);
    else if (dice < 94) this.#peerCalls();
    else if (dice < 97) this.#peerCloses();
    else if (dice < 98) this.#changePolicy();
    else {
      const actor = random.pick(["alice", "bob"]);
      this.#server.endAllocations((allocation) => allocation.actor === actor, "administrator", this.#clock);
    }
  }

  #changePolicy(): void {
    const random = this.#random;
    const rules = [{}, { deny: ["8.8.8.8"] }, { deny: ["0.0.0.0/0"] }, { allow: ["10.0.0.0/8", "192.0.2.1"] }];
    this.#policy = createPeerPolicy(random.pick(rules));
    this.#server.enforcePeerPolicy(this.#clock);
  }

  #request(client: WildClient): void {
    const random = this.#random;
    const { stun } = client;
    if (stun.nonce === "" || random.chance(0.1)) {
      this.#send(client, stun.plain("refresh"));
      return;
    }
    const peer = attribute(xorPeerAddress, random.pick(PEERS));
    const seconds = attribute(lifetime, random.pick([0, 1, 600, 3600]));
    const transport = attribute(requestedTransport, client.listener === TCP_LISTENER && random.chance(0.6) ? 6 : 17);
    const mobile = random.chance(0.3) ? [attribute(mobilityTicket, new Uint8Array(0))] : [];
    const choices: readonly (() => readonly [Parameters<StunClient["signed"]>[0], readonly EncodedAttribute[]])[] = [
      () => ["allocate", [transport, seconds, ...mobile]],
      () => ["allocate", [transport]],
      () => ["refresh", [seconds]],
      () => ["refresh", [attribute(mobilityTicket, random.pick(this.#clients).ticket)]],
      () => ["createPermission", [peer, attribute(xorPeerAddress, random.pick(PEERS))]],
      () => ["channelBind", [attribute(channelNumber, 0x4000 + random.integer(2)), peer]],
      () => ["connect", [peer]],
      () => ["connectionBind", [attribute(connectionId, this.#connectionIds.at(-1) ?? 0)]],
    ];
    const [method, attributes] = random.pick(choices)();
    client.last = stun.signed(method, attributes);
    this.#send(client, client.last);
  }

  #send(client: WildClient, bytes: Uint8Array): void {
    const buffer = new Uint8Array(48 + bytes.length + 4);
    buffer.set(bytes, 48);
    this.#server.handleClientPacket(sourceOf(client.address, client.listener), buffer, 48, bytes.length, this.#clock);
  }

  #answerOne(): void {
    if (this.#open.length === 0) return;
    const [make] = this.#open.splice(this.#random.integer(this.#open.length), 1);
    if (make !== undefined) this.#server.handleAnswer(make(), this.#clock);
    this.#drain();
  }

  #advance(seconds: number): void {
    const end = this.#clock.monotonicMs + seconds * 1000;
    for (let next = this.#server.pollTimeout(); next !== undefined && next <= end; next = this.#server.pollTimeout()) {
      this.#clock.advance(Math.max(0, next - this.#clock.monotonicMs));
      this.#server.handleTimeout(this.#clock);
      this.#drain();
    }
    this.#clock.advance(end - this.#clock.monotonicMs);
  }

  #peerCalls(): void {
    const handle = this.#next++;
    this.ledger.peerConnected(handle);
    this.#connections.push(handle);
    const socket = this.#random.integer(this.#next);
    this.#server.handlePeerConnection(socket, this.#random.pick(PEERS), handle, this.#clock);
  }

  #peerCloses(): void {
    if (this.#connections.length === 0) return;
    const [handle = -1] = this.#connections.splice(this.#random.integer(this.#connections.length), 1);
    this.ledger.peerGone(handle);
    this.#server.handlePeerConnectionClosed(handle, this.#clock);
  }

  #drain(): void {
    for (let output = this.#server.pollOutput(); output !== undefined; output = this.#server.pollOutput()) {
      this.ledger.take(output);
      this.#world(output);
    }
  }

  #world(output: Output): void {
    const random = this.#random;
    switch (output.kind) {
      case "sendToClient":
        this.#arrive(output.destination, output.bytes);
        break;
      case "closePeerConnection": {
        const index = this.#connections.indexOf(output.peerConnection);
        if (index >= 0) this.#connections.splice(index, 1);
        break;
      }
      case "admit": {
        const { questionId } = output;
        this.#open.push(() => {
          const admitted = random.chance(0.8);
          this.ledger.admissionAnswered(questionId, admitted);
          return { kind: "admission", questionId, admitted };
        });
        break;
      }
      case "openRelaySocket": {
        const { questionId } = output;
        this.#open.push(() => {
          if (random.chance(0.1)) return { kind: "relaySocketFailed", questionId, code: 508, reason: "full" };
          const socket = this.#next++;
          this.ledger.socketOpened(socket);
          const local = transportAddress("192.0.2.1", 49_152 + (socket % 16_000));
          return { kind: "relaySocketOpened", questionId, sockets: [{ socket, local, relayed: local }] };
        });
        break;
      }
      case "connectPeer": {
        const { questionId } = output;
        this.#open.push(() => {
          if (random.chance(0.3)) return { kind: "peerConnectFailed", questionId };
          const peerConnection = this.#next++;
          this.ledger.peerConnected(peerConnection);
          this.#connections.push(peerConnection);
          return { kind: "peerConnected", questionId, peerConnection };
        });
        break;
      }
      default:
        break;
    }
  }

  #arrive(destination: TransportAddress, bytes: Uint8Array): void {
    const client = this.#clients.find(({ address }) => address.port === destination.port);
    if (client === undefined) throw new Error(`An answer to nobody: ${destination.port}`);
    const message = stunOf(bytes);
    client.stun.learn(message);
    const ticket = getAttribute(message, mobilityTicket);
    if (ticket?.ok) client.ticket = ticket.value;
    const id = getAttribute(message, connectionId);
    if (id?.ok) this.#connectionIds.push(id.value);
  }
}
