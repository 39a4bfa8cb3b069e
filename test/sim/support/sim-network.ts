import { formatTransportAddress, sameTransportAddress, type TransportAddress } from "@turnpike/stun";
import { nodeCrypto } from "@turnpike/stun/node";
import {
  Received,
  TurnClient,
  type ClientFailure,
  type ClientOptions,
  type ClientOutput,
  type Completion,
  type Listener,
  type Output,
} from "@turnpike/turn";
import { UDP_LISTENER, type EngineHarness } from "./engine-harness.ts";
import { SeededRandom } from "./random.ts";

/** What the network does to datagrams. */
export interface Weather {
  /** Chance of a datagram to be lost, 0–1. */
  readonly loss: number;
  /** Chance to arrive twice. */
  readonly duplication: number;
  /** Each datagram takes its own time between these: that reorders them. */
  readonly minDelayMs: number;
  readonly maxDelayMs: number;
}

export const FAIR: Weather = { loss: 0, duplication: 0, minDelayMs: 5, maxDelayMs: 5 };

/** One datagram as it was handed to the network. */
export interface Sent {
  readonly atMs: number;
  readonly from: "client" | "server";
  readonly bytes: Uint8Array;
}

/** How an operation ended. */
export type Ending = Completion | { readonly method: "failed"; readonly failure: ClientFailure };

/** One client of the network. Its address may change, as that of a phone does. */
export class SimClient {
  readonly engine: TurnClient;
  readonly endings = new Map<number, Ending>();
  /** Outputs that are neither packets nor the ends of operations. */
  readonly notices: ClientOutput[] = [];
  readonly received: { readonly peer: TransportAddress; readonly bytes: Uint8Array; readonly channel: number }[] = [];
  address: TransportAddress;
  listener: Listener;

  constructor(engine: TurnClient, address: TransportAddress, listener: Listener) {
    this.engine = engine;
    this.address = address;
    this.listener = listener;
  }

  /** The end that an operation must have come to. */
  ending(operation: number): Ending {
    const ending = this.endings.get(operation);
    if (ending === undefined) throw new Error(`Operation ${operation} has not ended`);
    return ending;
  }
}

interface Event {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
}

/**
 * Real clients and one real server engine on a network that exists only in a queue: the clock jumps from event to
 * event, and everything that seems random comes from one seed.
 */
export class SimNetwork {
  readonly harness: EngineHarness;
  readonly clients: SimClient[] = [];
  readonly sent: Sent[] = [];
  /** What peers got, newest last. A peer answers by `fromPeer`. */
  readonly atPeers: { readonly peer: TransportAddress; readonly bytes: Uint8Array; readonly socket: number }[] = [];
  /** Outputs of the server other than packets. */
  readonly serverOutputs: Output[] = [];
  weather: Weather;
  /** True: this datagram is lost, whatever the weather. */
  drop: (sent: Sent) => boolean = () => false;
  readonly #random: SeededRandom;
  #events: Event[] = [];
  #order = 0;

  constructor(harness: EngineHarness, options: { readonly weather?: Weather; readonly seed?: number } = {}) {
    this.harness = harness;
    this.weather = options.weather ?? FAIR;
    this.#random = new SeededRandom(options.seed ?? 1);
  }

  get nowMs(): number {
    return this.harness.clock.monotonicMs;
  }

  client(
    address: TransportAddress,
    options: Partial<ClientOptions> & { readonly listener?: Listener; readonly anonymous?: true } = {},
  ): SimClient {
    const { listener = UDP_LISTENER, anonymous, ...rest } = options;
    const engine = new TurnClient({
      crypto: nodeCrypto,
      random: (length) => this.#random.bytes(length),
      server: listener.local,
      reliable: listener.transport !== "udp",
      ...(anonymous === true
        ? {}
        : { credentials: { kind: "password", username: "alice", password: "wonderland" } as const }),
      ...rest,
    });
    const client = new SimClient(engine, address, listener);
    this.clients.push(client);
    return client;
  }

  /** Gives an input to a client and carries out what it wants. */
  act<T>(client: SimClient, input: (engine: TurnClient) => T): T {
    const result = input(client.engine);
    this.#drainClient(client);
    return result;
  }

  /** As `act`, and lets time pass until the operation has ended. */
  finish(client: SimClient, input: (engine: TurnClient) => number): Ending {
    const operation = this.act(client, input);
    for (let guard = 0; !client.endings.has(operation); guard++) {
      if (guard > 100_000 || !this.#step(Number.POSITIVE_INFINITY)) throw new Error("The operation never ends");
    }
    return client.ending(operation);
  }

  /** The application of a client sends a datagram. */
  send(client: SimClient, peer: TransportAddress, payload: Uint8Array): void {
    const bytes = client.engine.encodeDatagram(peer, payload, this.harness.clock);
    if (bytes !== undefined) this.#toServer(client, bytes);
  }

  /** A peer sends a datagram to a relay socket. */
  fromPeer(socket: number, peer: TransportAddress, bytes: Uint8Array): void {
    const forwarded = this.harness.fromPeer(socket, peer, bytes);
    if (forwarded?.verdict === "toClient") this.#toClient(forwarded.destination, forwarded.bytes);
    this.#drainServer();
  }

  /** Lets time pass: every timer and every arrival on the way happens. */
  advance(ms: number): void {
    const endMs = this.nowMs + ms;
    while (this.#step(endMs));
    this.#moveTo(endMs);
  }

  /** Carries out one thing, the next one; false if nothing happens until `endMs`. */
  #step(endMs: number): boolean {
    let nextMs = this.#events[0]?.atMs ?? Number.POSITIVE_INFINITY;
    const serverMs = this.harness.server.pollTimeout() ?? Number.POSITIVE_INFINITY;
    nextMs = Math.min(nextMs, serverMs, ...this.clients.map(({ engine }) => engine.pollTimeout() ?? nextMs));
    if (nextMs > endMs || nextMs === Number.POSITIVE_INFINITY) return false;
    this.#moveTo(nextMs);
    if (this.#events[0] !== undefined && this.#events[0].atMs <= nextMs) {
      this.#events.shift()!.run();
      return true;
    }
    if (serverMs <= nextMs) {
      this.harness.server.handleTimeout(this.harness.clock);
      this.#drainServer();
      return true;
    }
    for (const client of this.clients) {
      if ((client.engine.pollTimeout() ?? Number.POSITIVE_INFINITY) > nextMs) continue;
      this.act(client, (engine) => engine.handleTimeout(this.harness.clock));
    }
    return true;
  }

  #moveTo(ms: number): void {
    if (ms > this.nowMs) this.harness.clock.advance(ms - this.nowMs);
  }

  #drainClient(client: SimClient): void {
    for (let output = client.engine.pollOutput(); output !== undefined; output = client.engine.pollOutput()) {
      if (output.kind === "send") this.#toServer(client, output.bytes);
      else if (output.kind === "completed") this.#end(client, output.operation, output.completion);
      else if (output.kind === "failed") {
        this.#end(client, output.operation, { method: "failed", failure: output.failure });
      } else client.notices.push(output);
    }
  }

  #end(client: SimClient, operation: number, ending: Ending): void {
    if (client.endings.has(operation)) throw new Error(`Operation ${operation} ended twice`);
    client.endings.set(operation, ending);
  }

  #drainServer(): void {
    this.harness.drain();
    for (const output of this.harness.take()) {
      if (output.kind === "sendToClient") this.#toClient(output.destination, output.bytes);
      else this.serverOutputs.push(output);
    }
  }

  #toServer(client: SimClient, bytes: Uint8Array): void {
    const { address, listener } = client;
    this.#carry({ atMs: this.nowMs, from: "client", bytes }, listener, () => {
      const forwarded = this.harness.fromClient(address, bytes, listener);
      if (forwarded?.verdict === "toPeer") {
        this.atPeers.push({ peer: forwarded.destination, bytes: forwarded.bytes, socket: forwarded.socket });
      }
      this.#drainServer();
    });
  }

  #toClient(address: TransportAddress, bytes: Uint8Array): void {
    const listener = this.clients.find((client) => sameTransportAddress(client.address, address))?.listener;
    this.#carry({ atMs: this.nowMs, from: "server", bytes }, listener ?? UDP_LISTENER, () => {
      const client = this.clients.find((each) => sameTransportAddress(each.address, address));
      if (client === undefined) return;
      // The buffer is larger than the packet and poisoned after it was read: nothing may be kept of it.
      const buffer = new Uint8Array(bytes.length + 16).fill(0xa5);
      buffer.set(bytes, 8);
      const { engine } = client;
      if (engine.handlePacket(buffer, 8, bytes.length, this.harness.clock) === Received.data) {
        const { peer, offset, length, channel } = engine.received;
        client.received.push({ peer: { ...peer }, bytes: buffer.slice(offset, offset + length), channel });
      }
      buffer.fill(0x5a);
      this.#drainClient(client);
    });
  }

  #carry(sent: Sent, listener: Listener, arrive: () => void): void {
    this.sent.push(sent);
    if (this.drop(sent)) return;
    const { loss, duplication, minDelayMs, maxDelayMs } = this.weather;
    if (listener.transport !== "udp") {
      this.#schedule(minDelayMs, arrive);
      return;
    }
    if (this.#random.chance(loss)) return;
    const delay = (): number => minDelayMs + this.#random.next() * (maxDelayMs - minDelayMs);
    this.#schedule(delay(), arrive);
    if (this.#random.chance(duplication)) this.#schedule(delay(), arrive);
  }

  #schedule(delayMs: number, run: () => void): void {
    const event = { atMs: this.nowMs + delayMs, order: this.#order++, run };
    const place = this.#events.findIndex((other) => other.atMs > event.atMs);
    if (place < 0) this.#events.push(event);
    else this.#events.splice(place, 0, event);
  }
}

/** A transport address as a key in test tables. */
export function nameOf(address: TransportAddress): string {
  return formatTransportAddress(address);
}
