import {
  attribute,
  channelNumber,
  data,
  type EncodedAttribute,
  encodeChannelData,
  evenPort,
  getAttribute,
  lifetime,
  type Method,
  requestedAddressFamily,
  requestedTransport,
  type StunMessage,
  type TransportAddress,
  xorPeerAddress,
  xorRelayedAddress,
} from "@turnpike/stun";
import { SeededRandom } from "../sim/support/random.ts";
import { type ClientCredentials, outcomeOf, StunClient, stunOf } from "../sim/support/stun-client.ts";
import { type Received, UdpPeer } from "./udp-peer.ts";

/** A TURN client over a UDP socket: one request at a time, each byte under the test's control. */
export class UdpTurnClient implements AsyncDisposable {
  readonly peer: UdpPeer;
  readonly stun: StunClient;
  readonly #server: TransportAddress;
  readonly #between: Received[] = [];

  private constructor(peer: UdpPeer, server: TransportAddress, credentials: ClientCredentials, seed: number) {
    this.peer = peer;
    this.#server = server;
    this.stun = new StunClient(credentials, new SeededRandom(seed));
  }

  static async open(server: TransportAddress, credentials: ClientCredentials): Promise<UdpTurnClient> {
    const peer = await UdpPeer.open(server.family === 4 ? "127.0.0.1" : "::1");
    return new UdpTurnClient(peer, server, credentials, peer.local.port);
  }

  /** Sends a request, twice if it is challenged. */
  async request(method: Method, attributes: readonly EncodedAttribute[]): Promise<StunMessage> {
    const first = this.stun.nonce === "" ? this.stun.plain(method, attributes) : this.stun.signed(method, attributes);
    const answer = await this.exchange(first);
    const outcome = outcomeOf(answer);
    if (outcome !== 438 && !(outcome === 401 && this.stun.nonce === "")) {
      return answer;
    }
    this.stun.learn(answer);
    return this.exchange(this.stun.signed(method, attributes));
  }

  /** Sends a request and takes its answer. What arrives in between waits for {@link receive}. */
  async exchange(request: Uint8Array): Promise<StunMessage> {
    this.send(request);
    for (;;) {
      const received = await this.peer.receive();
      if (Buffer.compare(received.bytes.subarray(8, 20), request.subarray(8, 20)) === 0) {
        return stunOf(received.bytes);
      }
      this.#between.push(received);
    }
  }

  /** Allocates; the relayed transport address, or the error code. */
  async allocate(...attributes: readonly EncodedAttribute[]): Promise<TransportAddress | number> {
    return relayedOf(await this.allocateAnswer(...attributes));
  }

  allocateAnswer(...attributes: readonly EncodedAttribute[]): Promise<StunMessage> {
    return this.request("allocate", [attribute(requestedTransport, 17), ...attributes]);
  }

  async refresh(seconds: number): Promise<"success" | number> {
    return outcomeOf(await this.request("refresh", [attribute(lifetime, seconds)]));
  }

  async permit(peer: TransportAddress): Promise<"success" | number> {
    return outcomeOf(await this.request("createPermission", [attribute(xorPeerAddress, peer)]));
  }

  async bind(channel: number, peer: TransportAddress): Promise<"success" | number> {
    const attributes = [attribute(channelNumber, channel), attribute(xorPeerAddress, peer)];
    return outcomeOf(await this.request("channelBind", attributes));
  }

  sendTo(peer: TransportAddress, bytes: Uint8Array): void {
    this.send(this.stun.indication("send", [attribute(xorPeerAddress, peer), attribute(data, bytes)]));
  }

  sendOn(channel: number, bytes: Uint8Array): void {
    this.send(encodeChannelData(channel, bytes));
  }

  send(bytes: Uint8Array): void {
    this.peer.send(bytes, this.#server);
  }

  receive(): Promise<Received> {
    const received = this.#between.shift();
    return received === undefined ? this.peer.receive() : Promise.resolve(received);
  }

  /** How many datagrams arrived and were not asked for. */
  get unread(): number {
    return this.#between.length + this.peer.unread;
  }

  /** The next datagram as a Data indication. */
  async receiveData(): Promise<{ readonly peer: TransportAddress; readonly bytes: Uint8Array }> {
    const message = stunOf((await this.receive()).bytes);
    const peer = getAttribute(message, xorPeerAddress);
    const bytes = getAttribute(message, data);
    if (message.methodName !== "data" || !peer?.ok || !bytes?.ok) {
      throw new Error(`Not a Data indication: ${message.methodName}`);
    }
    return { peer: peer.value, bytes: bytes.value };
  }

  close(): Promise<void> {
    return this.peer.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** The relayed transport address of an Allocate answer, or its error code. */
export function relayedOf(answer: StunMessage): TransportAddress | number {
  const outcome = outcomeOf(answer);
  if (outcome !== "success") {
    return outcome;
  }
  const relayed = getAttribute(answer, xorRelayedAddress);
  if (!relayed?.ok) {
    throw new Error("XOR-RELAYED-ADDRESS is missing");
  }
  return relayed.value;
}

/** REQUESTED-ADDRESS-FAMILY for IPv6. */
export const ipv6Wanted: EncodedAttribute = attribute(requestedAddressFamily, 6);
/** EVEN-PORT with R=0. */
export const evenWanted: EncodedAttribute = attribute(evenPort, false);
/** EVEN-PORT with R=1. */
export const evenPairWanted: EncodedAttribute = attribute(evenPort, true);
