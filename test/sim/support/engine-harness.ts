import { AddressRegister, transportAddress, type StunMessage, type TransportAddress } from "@turnpike/stun";
import { nodeCrypto } from "@turnpike/stun/node";
import {
  ClientSource,
  createPeerPolicy,
  PACKET_HEADROOM,
  PACKET_TAILROOM,
  TurnServer,
  Verdict,
  type Listener,
  type Output,
  type RelaySocket,
  type ServerOptions,
} from "@turnpike/turn";
import { staticUsers } from "./authentication.ts";
import { VirtualClock } from "./clock.ts";
import { ownAddresses } from "./hairpin.ts";
import { SeededRandom } from "./random.ts";
import { stunOf } from "./stun-client.ts";

export const UDP_LISTENER: Listener = { id: 1, transport: "udp", local: transportAddress("192.0.2.1", 3478) };
export const TCP_LISTENER: Listener = { id: 2, transport: "tcp", local: transportAddress("192.0.2.1", 3478) };
export const UDP6_LISTENER: Listener = { id: 3, transport: "udp", local: transportAddress("2001:db8::1", 3478) };

/** Where a packet went, copied out of the engine's register. */
export interface Forwarded {
  readonly verdict: "toPeer" | "toClient";
  readonly socket: number;
  readonly connection: number;
  readonly destination: TransportAddress;
  readonly bytes: Uint8Array;
}

/**
 * One engine with the world around it played by the test: outputs are collected, and `drained()` fails the test if
 * any are left that it didn't look at.
 */
export class EngineHarness {
  readonly clock = new VirtualClock();
  readonly random: SeededRandom;
  readonly server: TurnServer;
  /** Open relay sockets by handle. */
  readonly sockets: Map<number, RelaySocket>;
  /** Held ports by reservation; relay-wide, so that engines of one relay are given the same. */
  readonly reservations: Map<number, RelaySocket>;
  readonly outputs: Output[] = [];
  /** False: questions for relay sockets stay in `outputs` for the test to answer. */
  answerSockets = true;
  /** Ports are leased to engines in blocks: here one of 1,000 for each. */
  #nextSocket = 0;
  #nextPort = 0;
  #nextReservation = 1;

  constructor(options: Partial<ServerOptions> & { readonly seed?: number; readonly beside?: EngineHarness } = {}) {
    const { seed, beside, ...rest } = options;
    this.sockets = beside?.sockets ?? new Map();
    this.reservations = beside?.reservations ?? new Map();
    this.random = new SeededRandom(seed ?? 1);
    this.#nextPort = 49_152 + 1000 * (rest.engine ?? 0);
    this.#nextSocket = 1000 * (rest.engine ?? 0);
    this.#nextReservation = 1 + 1000 * (rest.engine ?? 0);
    this.server = new TurnServer({
      crypto: nodeCrypto,
      random: (length) => this.random.bytes(length),
      realm: "example.org",
      listeners: [UDP_LISTENER, TCP_LISTENER, UDP6_LISTENER],
      authenticate: staticUsers({ alice: "wonderland", bob: "builder" }),
      peerPolicy: createPeerPolicy(),
      hairpin: ownAddresses(["192.0.2.1", "2001:db8::1"], (address) => this.isLive(address)),
      nonceKey: new Uint8Array(32).fill(7),
      events: true,
      ...rest,
    });
  }

  /** Hands a client's packet in, from its own buffer with head- and tailroom filled with poison. */
  fromClient(client: TransportAddress, bytes: Uint8Array, listener: Listener = UDP_LISTENER): Forwarded | undefined {
    const source = sourceOf(client, listener);
    const { buffer, offset } = framed(bytes);
    const verdict = this.server.handleClientPacket(source, buffer, offset, bytes.length, this.clock);
    return this.#after(verdict, buffer);
  }

  fromPeer(socket: number, peer: TransportAddress, bytes: Uint8Array): Forwarded | undefined {
    const { buffer, offset } = framed(bytes);
    const verdict = this.server.handlePeerPacket(socket, peer, buffer, offset, bytes.length, this.clock);
    return this.#after(verdict, buffer);
  }

  close(client: TransportAddress, listener: Listener): void {
    this.server.handleClientClosed(sourceOf(client, listener), this.clock);
    this.drain();
  }

  /** Moves the clock, stopping at each timer on the way. */
  advance(ms: number): void {
    const end = this.clock.monotonicMs + ms;
    for (;;) {
      const next = this.server.pollTimeout();
      if (next === undefined || next > end) break;
      this.clock.advance(Math.max(0, next - this.clock.monotonicMs));
      this.server.handleTimeout(this.clock);
      this.drain();
    }
    this.clock.advance(end - this.clock.monotonicMs);
  }

  drain(): void {
    for (let output = this.server.pollOutput(); output !== undefined; output = this.server.pollOutput()) {
      this.#world(output);
    }
  }

  /** Takes the outputs that were collected. */
  take(): Output[] {
    return this.outputs.splice(0);
  }

  /** The kinds of the outputs that were collected; events by their type. */
  takeKinds(): string[] {
    return this.take().map((output) => (output.kind === "event" ? output.event.type : output.kind));
  }

  /** The answer to the packet just handed in, which must be the only one. */
  answer(): StunMessage {
    const sent = this.take().filter((output) => output.kind === "sendToClient");
    if (sent.length !== 1) throw new Error(`Expected one answer, got ${sent.length}`);
    return stunOf(sent[0]!.bytes);
  }

  isLive(address: TransportAddress): boolean {
    for (const { relayed } of this.sockets.values()) {
      if (relayed.port === address.port && relayed.w3 === address.w3 && relayed.w0 === address.w0) return true;
    }
    return false;
  }

  #after(verdict: Verdict, buffer: Uint8Array): Forwarded | undefined {
    const { forward } = this.server;
    const forwarded: Forwarded | undefined =
      verdict === Verdict.consumed
        ? undefined
        : {
            verdict: verdict === Verdict.toPeer ? "toPeer" : "toClient",
            socket: forward.socket,
            connection: forward.connection,
            destination: { ...forward.destination },
            bytes: buffer.slice(forward.offset, forward.offset + forward.length),
          };
    this.drain();
    return forwarded;
  }

  #world(output: Output): void {
    if (output.kind === "closeRelaySocket") this.sockets.delete(output.socket);
    if (output.kind === "releaseReservation") this.reservations.delete(output.reservation);
    if (output.kind !== "openRelaySocket" || !this.answerSockets) {
      this.outputs.push(output);
      return;
    }
    const sockets: RelaySocket[] = [];
    if (output.port === "reserved") {
      const reserved = this.reservations.get(output.reservation as number);
      if (reserved === undefined) {
        const { questionId } = output;
        this.server.handleAnswer(
          { kind: "relaySocketFailed", questionId, code: 508, reason: "Insufficient Capacity" },
          this.clock,
        );
        return;
      }
      this.reservations.delete(output.reservation as number);
      sockets.push(reserved);
    } else {
      for (const family of output.families) sockets.push(this.#socket(family, output.port !== "any"));
    }
    for (const socket of sockets) this.sockets.set(socket.socket, socket);
    let reservation: number | undefined;
    if (output.port === "evenPair") {
      reservation = this.#nextReservation++;
      this.reservations.set(reservation, this.#socket(output.families[0] as 4 | 6, false));
    }
    const { questionId } = output;
    this.server.handleAnswer(
      { kind: "relaySocketOpened", questionId, sockets, ...(reservation === undefined ? {} : { reservation }) },
      this.clock,
    );
  }

  #socket(family: 4 | 6, even: boolean): RelaySocket {
    if (even && this.#nextPort % 2 === 1) this.#nextPort++;
    const local = transportAddress(family === 4 ? "192.0.2.1" : "2001:db8::1", this.#nextPort++);
    return { socket: this.#nextSocket++, local, relayed: local };
  }
}

/** The five-tuple of a test client: its port doubles as its connection on streams. */
export function sourceOf(client: TransportAddress, listener: Listener): ClientSource {
  const register = new AddressRegister();
  register.set(client);
  const source = new ClientSource(register);
  source.listener = listener.id;
  source.connection = listener.transport === "udp" ? 0 : client.port;
  return source;
}

function framed(bytes: Uint8Array): { buffer: Uint8Array; offset: number } {
  const buffer = new Uint8Array(PACKET_HEADROOM + bytes.length + PACKET_TAILROOM).fill(0xa5);
  buffer.set(bytes, PACKET_HEADROOM);
  return { buffer, offset: PACKET_HEADROOM };
}
