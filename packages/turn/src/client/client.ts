import {
  alternateDomain,
  alternateServer,
  attribute,
  channelDataLength,
  channelDataNumber,
  connectionId,
  data,
  decodeMessage,
  dontFragment,
  encodeChannelData,
  encodeMessage,
  getAttribute,
  getAttributes,
  icmp,
  isChannelData,
  sameTransportAddress,
  xorMappedAddress,
  xorPeerAddress,
  type IpAddress,
  type StunMessage,
  type TransportAddress,
} from "@turnpike/stun";
import type { Now } from "../server/contract.ts";
import { allocateAttributes } from "./allocate-request.ts";
import { AllocationLife } from "./allocation-life.ts";
import { Channels } from "./channels.ts";
import {
  Received,
  type AllocateDemands,
  type ClientEngine,
  type ClientOptions,
  type ClientOutput,
  type ReceivedData,
} from "./contract.ts";
import { ClientCore } from "./core.ts";
import type { Outcome } from "./exchanges.ts";
import type { ClientFailure } from "./failure.ts";
import { Permissions } from "./permissions.ts";
import type { Session } from "./session.ts";

/**
 * The TURN client as a pure state machine (RFC 8656 over RFC 8489, with RFC 6062, 7635 and 8016).
 *
 * Every input is followed by a complete drain: call `pollOutput()` until it returns undefined.
 *
 * @throws TypeError or RangeError if the options can't be used.
 */
export class TurnClient implements ClientEngine {
  readonly #core: ClientCore;
  readonly #life: AllocationLife;
  readonly #permissions: Permissions;
  readonly #channels: Channels;
  readonly #received: { -readonly [Key in keyof ReceivedData]: ReceivedData[Key] } = {
    peer: NOWHERE,
    offset: 0,
    length: 0,
    channel: 0,
  };
  /** An Allocate that another server is going to answer. */
  #redirected: { readonly operation: number; readonly demands: AllocateDemands } | undefined;
  /** Servers that were asked, and when (RFC 8489 §10). */
  #asked: { readonly server: TransportAddress; readonly atMs: number }[] = [];
  #server: TransportAddress;
  #allocating = 0;

  constructor(options: ClientOptions) {
    this.#core = new ClientCore(options);
    this.#server = options.server;
    this.#permissions = new Permissions(this.#core);
    this.#channels = new Channels(this.#core, this.#permissions);
    this.#life = new AllocationLife(this.#core, () => {
      this.#channels.clear();
      this.#permissions.clear();
    });
    this.#core.onMismatch = (failure) => this.#life.lose(failure);
  }

  get received(): ReceivedData {
    return this.#received;
  }

  /** Whether there is an allocation, as far as the client knows. */
  get isAllocated(): boolean {
    return this.#life.isAlive;
  }

  /** Addresses with a living permission, as far as the client knows. */
  permittedPeers(now: Now): readonly IpAddress[] {
    return this.#permissions.peers(now);
  }

  /** Channels that are bound, as far as the client knows. */
  boundChannels(now: Now): readonly { readonly channel: number; readonly peer: TransportAddress }[] {
    return this.#channels.bound(now);
  }

  /** What a data connection of this allocation authenticates with: see `ConnectionBinding`. */
  get session(): Session {
    return this.#core.session;
  }

  handlePacket(buffer: Uint8Array, offset: number, length: number, now: Now): Received {
    if (length < 4) return Received.consumed;
    if (isChannelData(buffer[offset]!)) return this.#channelData(buffer, offset, length, now);
    const decoded = decodeMessage(buffer, offset, length);
    if (!decoded.ok) return Received.consumed;
    const { message } = decoded;
    switch (message.class) {
      case "request":
        return Received.consumed;
      case "indication":
        return this.#indication(message, offset, now);
      case "success":
      case "error":
        // Whoever waits for the answer may keep parts of it, and the buffer is the caller's.
        this.#core.exchanges.handleAnswer(message, now);
        return Received.consumed;
    }
  }

  handleRedirected(server: TransportAddress, now: Now): void {
    this.#server = server;
    const redirected = this.#redirected;
    this.#redirected = undefined;
    if (redirected !== undefined) this.#allocate(redirected.operation, redirected.demands, now);
  }

  handleTransportFailed(now: Now): void {
    this.#redirected = undefined;
    const failure: ClientFailure = { code: "transportFailed" };
    const lost = this.#life.isAlive && !this.#life.isMobile;
    this.#core.exchanges.failAll(failure, now);
    if (lost) this.#life.lose(failure);
    else this.#core.dropAll(failure);
  }

  handleTimeout(now: Now): void {
    const { timers, exchanges } = this.#core;
    for (let item = timers.pop(now.monotonicMs); item !== undefined; item = timers.pop(now.monotonicMs)) {
      if (item.kind === "exchange") exchanges.handleTimer(item, now);
      else item.handleTimer(now);
    }
  }

  binding(now: Now): number {
    const operation = this.#core.begin();
    const settle = (outcome: Outcome): void => {
      if (!outcome.ok) {
        this.#core.fail(operation, outcome.failure);
        return;
      }
      const mapped = getAttribute(outcome.message, xorMappedAddress);
      if (mapped?.ok) this.#core.complete(operation, { method: "binding", mapped: mapped.value });
      else this.#core.fail(operation, { code: "malformedResponse", detail: "XOR-MAPPED-ADDRESS is missing" });
    };
    this.#core.ask(operation, { method: "binding", attributes: [], authenticated: false }, settle, now);
    return operation;
  }

  allocate(demands: AllocateDemands, now: Now): number {
    // What can't be asked for throws before anything happens.
    allocateAttributes(demands, this.#core.options.reliable);
    if (!this.#life.isNew) {
      throw new TypeError("Cannot allocate: this five-tuple has, or had, an allocation; take another one");
    }
    const operation = this.#core.begin();
    this.#allocating = operation;
    this.#allocate(operation, demands, now);
    return operation;
  }

  refresh(lifetimeSeconds: number | undefined, now: Now): number {
    return this.#onAllocation((operation) => this.#life.refresh(operation, lifetimeSeconds, now));
  }

  permit(peers: readonly IpAddress[], now: Now): number {
    return this.#onAllocation((operation) => this.#permissions.permit(operation, peers, now));
  }

  bindChannel(peer: TransportAddress, now: Now): number {
    return this.#onAllocation((operation) => this.#channels.bind(operation, peer, now));
  }

  forget(peer: IpAddress): void {
    this.#channels.forget(peer);
    this.#permissions.forget(peer);
  }

  connect(peer: TransportAddress, now: Now): number {
    return this.#onAllocation((operation) => {
      const settle = (outcome: Outcome): void => {
        if (!outcome.ok) {
          if (!this.#core.isMismatch(outcome.failure)) this.#core.fail(operation, outcome.failure);
          return;
        }
        const id = getAttribute(outcome.message, connectionId);
        if (id?.ok) this.#core.complete(operation, { method: "connect", connectionId: id.value });
        else this.#core.fail(operation, { code: "malformedResponse", detail: "CONNECTION-ID is missing" });
      };
      const attributes = [attribute(xorPeerAddress, peer)];
      this.#core.ask(operation, { method: "connect", attributes, authenticated: true }, settle, now);
    });
  }

  move(now: Now): number {
    return this.#onAllocation((operation) => this.#life.move(operation, now));
  }

  close(now: Now): number {
    return this.#onAllocation((operation) => this.#life.close(operation, now));
  }

  abort(operation: number, now: Now): void {
    if (this.#redirected?.operation === operation) this.#redirected = undefined;
    const isAllocate = this.#allocating === operation && this.#core.isOpen(operation);
    this.#core.abort(operation);
    // The server may have allocated already. If it hasn't, this does no harm.
    if (isAllocate) this.#life.giveBack(now);
  }

  encodeDatagram(
    peer: TransportAddress,
    payload: Uint8Array,
    now: Now,
    options: { readonly dontFragment?: boolean } = {},
  ): Uint8Array | undefined {
    if (!this.#life.isAlive) return undefined;
    this.#core.lastSentMs = now.monotonicMs;
    // ChannelData can't carry DONT-FRAGMENT (RFC 8656 §14).
    const channel = options.dontFragment === true ? 0 : this.#channels.numberOf(peer, now);
    const { reliable, random } = this.#core.options;
    if (channel !== 0) return encodeChannelData(channel, payload, { padded: reliable });
    const attributes = [attribute(xorPeerAddress, peer)];
    if (options.dontFragment === true) attributes.push(attribute(dontFragment, true));
    attributes.push(attribute(data, payload));
    return encodeMessage({ class: "indication", method: "send", transactionId: random(12), attributes });
  }

  pollOutput(): ClientOutput | undefined {
    return this.#core.poll();
  }

  pollTimeout(): number | undefined {
    return this.#core.timers.peekDeadlineMs();
  }

  /** A new operation that needs an allocation. What it throws leaves none behind. */
  #onAllocation(start: (operation: number) => void): number {
    const operation = this.#core.begin();
    if (!this.#life.isAlive) {
      this.#core.fail(operation, { code: "noAllocation" });
      return operation;
    }
    try {
      if (this.#core.isOpen(operation)) start(operation);
    } catch (error) {
      this.#core.cancelOperation(operation);
      throw error;
    }
    return operation;
  }

  #allocate(operation: number, demands: AllocateDemands, now: Now): void {
    this.#asked = this.#asked.filter(({ atMs }) => atMs + REDIRECT_MEMORY_MS > now.monotonicMs);
    this.#asked.push({ server: this.#server, atMs: now.monotonicMs });
    this.#life.allocate(operation, demands, now, (message, at) => this.#tryAlternate(operation, demands, message, at));
  }

  /** RFC 8489 §10. True if the Allocate goes on with another server. */
  #tryAlternate(operation: number, demands: AllocateDemands, message: StunMessage, now: Now): boolean {
    const servers: TransportAddress[] = [];
    for (const server of getAttributes(message, alternateServer)) {
      if (!server.ok || server.value.port === 0) continue;
      const known = this.#asked.some(
        (asked) =>
          asked.atMs + REDIRECT_MEMORY_MS > now.monotonicMs && sameTransportAddress(asked.server, server.value),
      );
      if (!known) servers.push(server.value);
    }
    if (servers.length === 0 || this.#asked.length >= MAXIMUM_REDIRECTS) return false;
    const domain = getAttribute(message, alternateDomain);
    this.#redirected = { operation, demands };
    this.#core.session.reset();
    this.#core.output({ kind: "redirect", servers, domain: domain?.ok ? domain.value : undefined });
    return true;
  }

  #channelData(buffer: Uint8Array, offset: number, length: number, now: Now): Received {
    const dataLength = channelDataLength(buffer, offset);
    const peer = this.#channels.peerOf(channelDataNumber(buffer, offset));
    if (peer === undefined || dataLength > length - 4 || !this.#permissions.isExpected(peer, now)) {
      return Received.consumed;
    }
    return this.#deliver(peer, offset + 4, dataLength, channelDataNumber(buffer, offset));
  }

  #indication(message: StunMessage, offset: number, now: Now): Received {
    const peer = getAttribute(message, xorPeerAddress);
    if (!peer?.ok) return Received.consumed;
    if (message.methodName === "connectionAttempt") {
      const id = getAttribute(message, connectionId);
      if (id?.ok && this.#life.isAlive) {
        this.#core.output({ kind: "connectionAttempt", peer: peer.value, connectionId: id.value });
      }
      return Received.consumed;
    }
    if (message.methodName !== "data" || !this.#permissions.isExpected(peer.value, now)) return Received.consumed;
    const payload = message.attributes.find(({ type }) => type === data.type);
    if (payload !== undefined) {
      return this.#deliver(peer.value, offset + payload.offset + 4, payload.value.length, 0);
    }
    const error = getAttribute(message, icmp);
    if (error?.ok) this.#core.output({ kind: "icmp", peer: peer.value, icmp: error.value });
    return Received.consumed;
  }

  #deliver(peer: TransportAddress, offset: number, length: number, channel: number): Received {
    const received = this.#received;
    received.peer = peer;
    received.offset = offset;
    received.length = length;
    received.channel = channel;
    return Received.data;
  }
}

/** RFC 8489 §10. */
const REDIRECT_MEMORY_MS = 300_000;
/** Servers that may send a client on to yet another within that time. */
const MAXIMUM_REDIRECTS = 8;
const NOWHERE: TransportAddress = { family: 4, w0: 0, w1: 0, w2: 0xffff, w3: 0, port: 0 };
