import {
  attribute,
  channelNumber,
  connectionId,
  data,
  type EncodedAttribute,
  encodeChannelData,
  getAttribute,
  lifetime,
  type Method,
  requestedTransport,
  type StunMessage,
  type TransportAddress,
  xorPeerAddress,
} from "@turnpike/stun";
import { SeededRandom } from "../sim/support/random.ts";
import { type ClientCredentials, outcomeOf, StunClient, stunOf } from "../sim/support/stun-client.ts";
import { type Link, type LinkOptions, openLink } from "./links.ts";
import { relayedOf } from "./udp-turn-client.ts";

let seed = 1;

/** A TURN client over any transport but UDP: one request at a time, each byte under the test's control. */
export class LinkTurnClient implements AsyncDisposable {
  readonly stun: StunClient;
  /** Resolves when the relay, or this client, has ended the connection. */
  readonly closed: Promise<void>;
  readonly #arrived: Uint8Array[] = [];
  readonly #waiting: ((bytes: Uint8Array | undefined) => void)[] = [];
  #link: Link | undefined;
  #isClosed = false;
  #markClosed: () => void = () => {};

  private constructor(credentials: ClientCredentials) {
    this.stun = new StunClient(credentials, new SeededRandom(seed++));
    this.closed = new Promise((resolve) => {
      this.#markClosed = resolve;
    });
  }

  static async open(options: LinkOptions & { readonly credentials: ClientCredentials }): Promise<LinkTurnClient> {
    const client = new LinkTurnClient(options.credentials);
    client.#link = await openLink(options, {
      message: (bytes) => {
        const waiting = client.#waiting.shift();
        if (waiting === undefined) client.#arrived.push(bytes);
        else waiting(bytes);
      },
      closed: () => {
        client.#isClosed = true;
        client.#markClosed();
        for (const waiting of client.#waiting.splice(0)) waiting(undefined);
      },
    });
    return client;
  }

  get link(): Link {
    if (this.#link === undefined) throw new Error("Not connected");
    return this.#link;
  }

  /** Messages that arrived and were not asked for. */
  get unread(): number {
    return this.#arrived.length;
  }

  send(bytes: Uint8Array): void {
    this.link.send(bytes);
  }

  /** The next message, in the order of arrival; undefined if the connection ended. */
  receive(): Promise<Uint8Array | undefined> {
    const arrived = this.#arrived.shift();
    if (arrived !== undefined || this.#isClosed) return Promise.resolve(arrived);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Sends a request, twice if it is challenged. */
  async request(method: Method, attributes: readonly EncodedAttribute[]): Promise<StunMessage> {
    const first = this.stun.nonce === "" ? this.stun.plain(method, attributes) : this.stun.signed(method, attributes);
    const answer = await this.exchange(first);
    const outcome = outcomeOf(answer);
    if (outcome !== 438 && !(outcome === 401 && this.stun.nonce === "")) return answer;
    this.stun.learn(answer);
    return this.exchange(this.stun.signed(method, attributes));
  }

  /** Sends a request and takes its answer. What arrives in between waits for {@link receive}. */
  async exchange(request: Uint8Array): Promise<StunMessage> {
    const between: Uint8Array[] = [];
    this.send(request);
    for (;;) {
      const received = await this.receive();
      if (received === undefined) throw new Error("The connection was closed");
      if (Buffer.compare(received.subarray(8, 20), request.subarray(8, 20)) === 0) {
        this.#arrived.unshift(...between);
        return stunOf(received);
      }
      between.push(received);
    }
  }

  /** Allocates a UDP or TCP relay address; the relayed transport address, or the error code. */
  async allocate(
    transport: "udp" | "tcp" = "udp",
    ...attributes: readonly EncodedAttribute[]
  ): Promise<TransportAddress | number> {
    const wanted = attribute(requestedTransport, transport === "udp" ? 17 : 6);
    return relayedOf(await this.request("allocate", [wanted, ...attributes]));
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

  /** RFC 6062: the CONNECTION-ID, or the error code, negative. */
  async connectPeer(peer: TransportAddress): Promise<number> {
    const answer = await this.request("connect", [attribute(xorPeerAddress, peer)]);
    const outcome = outcomeOf(answer);
    if (outcome !== "success") return -outcome;
    const id = getAttribute(answer, connectionId);
    if (!id?.ok) throw new Error("CONNECTION-ID is missing");
    return id.value;
  }

  async bindConnection(id: number): Promise<"success" | number> {
    return outcomeOf(await this.request("connectionBind", [attribute(connectionId, id)]));
  }

  sendTo(peer: TransportAddress, bytes: Uint8Array): void {
    this.send(this.stun.indication("send", [attribute(xorPeerAddress, peer), attribute(data, bytes)]));
  }

  sendOn(channel: number, bytes: Uint8Array): void {
    // RFC 8656 §12.5: over streams, padded to a multiple of four.
    const message = encodeChannelData(channel, bytes);
    const padded = new Uint8Array(Math.ceil(message.length / 4) * 4);
    padded.set(message);
    this.send(this.link.stream === undefined ? message : padded);
  }

  close(): void {
    this.#link?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
    await this.closed;
  }
}
