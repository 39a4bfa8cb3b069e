import { decodeMessage, hasAttribute, isChannelData, mobilityTicket, type TransportAddress } from "@turnpike/stun";
import {
  type AllocationDescription,
  describeAllocations,
  type EndableAllocation,
  endAllocations,
} from "./administration.ts";
import { AllocateHandler } from "./allocate.ts";
import { type Allocation, type ClientAddress, isNewTokenOf, isSameUser } from "./allocation.ts";
import { authenticate, type Authenticated } from "./authenticate.ts";
import { handleBinding } from "./binding.ts";
import {
  type Answer,
  type ClientSource,
  type Forward,
  type IcmpReport,
  type Now,
  type Output,
  type ServerEngine,
  type ServerOptions,
  Verdict,
} from "./contract.ts";
import { Connections } from "./connections.ts";
import { Core, type IncomingRequest } from "./core.ts";
import { DataPath } from "./data-path.ts";
import type { DeletionReason } from "./events.ts";
import { enforcePeerPolicy } from "./denied-peers.ts";
import { HandOver } from "./hand-over.ts";
import { reportIcmp } from "./icmp.ts";
import { refuseUnknownAttributes } from "./known-attributes.ts";
import type { EngineLimits, LimitChange } from "./limits.ts";
import { Mobility } from "./mobility.ts";
import { PendingAuthentications } from "./pending-authentications.ts";
import { bindChannel, createPermission } from "./permissions.ts";
import { refreshAllocation } from "./refresh.ts";
import { keepAddress } from "./registry.ts";
import { failure, replyAuthenticated, type Answering, type Proof } from "./reply.ts";
import { deleteAllocation, expireChannel, expirePermission, removeRelays } from "./teardown.ts";

type AuthenticatedMethodName =
  | "allocate"
  | "refresh"
  | "createPermission"
  | "channelBind"
  | "connect"
  | "connectionBind";

/**
 * The TURN server as a pure state machine (RFC 8656 over RFC 8489).
 *
 * Every input is followed by a complete drain: call `pollOutput()` until it returns undefined.
 *
 * @throws RangeError if the options are out of range.
 */
export class TurnServer implements ServerEngine {
  readonly #core: Core;
  readonly #dataPath: DataPath;
  readonly #pending: PendingAuthentications;
  readonly #allocate: AllocateHandler;
  readonly #connections: Connections;
  readonly #mobility: Mobility;
  readonly #handOver: HandOver;

  constructor(options: ServerOptions) {
    this.#core = new Core(options);
    this.#pending = new PendingAuthentications(this.#core);
    this.#mobility = new Mobility(this.#core);
    this.#connections = new Connections(this.#core);
    this.#handOver = new HandOver(this.#core, this.#mobility);
    this.#allocate = new AllocateHandler(this.#core, this.#mobility);
    this.#dataPath = new DataPath({
      registry: this.#core.registry,
      hairpin: options.hairpin,
      streams: new Set(options.listeners.map(({ id }) => id).filter((id) => this.#core.isStream(id))),
      dontFragment: options.dontFragment ?? false,
      random: options.random,
    });
  }

  get forward(): Forward {
    return this.#dataPath.forward;
  }

  /** Living allocations. */
  get allocationCount(): number {
    return this.#core.registry.allocationCount;
  }

  /** Replies to unauthenticated senders that were held back. */
  get suppressedReplies(): number {
    return this.#core.replyLimiter.suppressed;
  }

  handleClientPacket(source: ClientSource, buffer: Uint8Array, offset: number, length: number, now: Now): Verdict {
    if (length < 4) return Verdict.consumed;
    const first = buffer[offset]!;
    if (isChannelData(first)) return this.#dataPath.channelData(source, buffer, offset, length, now);
    // The two bytes of a Send indication's type (RFC 8656 §17).
    if (first === 0x00 && buffer[offset + 1] === 0x16) {
      return this.#dataPath.sendIndication(source, buffer, offset, length, now);
    }
    this.#handleMessage(source, buffer, offset, length, now);
    return Verdict.consumed;
  }

  handlePeerPacket(
    socket: number,
    peer: TransportAddress,
    buffer: Uint8Array,
    offset: number,
    length: number,
    now: Now,
  ): Verdict {
    return this.#dataPath.fromPeer(socket, peer, buffer, offset, length, now);
  }

  handleAnswer(answer: Answer, now: Now): void {
    switch (answer.kind) {
      case "authentication":
        this.#pending.answer(answer.questionId, answer.decision, now);
        return;
      case "admission":
      case "relaySocketOpened":
      case "relaySocketFailed":
        this.#allocate.handleAnswer(answer, now);
        return;
      case "peerConnected":
      case "peerConnectFailed":
        this.#connections.handleAnswer(answer, now);
        return;
    }
  }

  handleClientClosed(source: ClientSource, now: Now): void {
    this.#allocate.cancel(source.listener, source.remote);
    this.#connections.handleClientClosed(source.listener, source.remote, now);
    const allocation = this.#core.registry.findAllocation(source.listener, source.remote);
    if (allocation === undefined) return;
    // RFC 8016 §3.2.2: an old connection that closes completes the move; a mobile client may yet come back.
    if (allocation.next !== undefined) this.#core.registry.endMove(allocation, source.listener, source.remote);
    else if (allocation.mobile === undefined) deleteAllocation(this.#core, allocation, "clientClosed", now);
  }

  hasAllocation(source: ClientSource): boolean {
    return this.#core.registry.findAllocation(source.listener, source.remote) !== undefined;
  }

  handlePeerIcmp(socket: number, peer: TransportAddress, icmp: IcmpReport, now: Now): void {
    reportIcmp(this.#core, socket, peer, icmp, now);
  }

  handlePeerConnection(socket: number, peer: TransportAddress, peerConnection: number, now: Now): void {
    this.#connections.handlePeerConnection(socket, keepAddress(peer), peerConnection, now);
  }

  handlePeerConnectionClosed(peerConnection: number, now: Now): void {
    this.#connections.handlePeerConnectionClosed(peerConnection, now);
  }

  handleHandedOver(source: ClientSource, bytes: Uint8Array, now: Now): void {
    this.#handOver.adopting(source, () => {
      this.#handleMessage(source, bytes, 0, bytes.length, now);
    });
  }

  handleRelaySocketError(socket: number, now: Now): void {
    const allocation = this.#core.registry.findBySocket(socket);
    if (allocation !== undefined) deleteAllocation(this.#core, allocation, "relaySocketError", now);
  }

  handleTimeout(now: Now): void {
    const { registry } = this.#core;
    for (let item = registry.timers.pop(now.monotonicMs); item; item = registry.timers.pop(now.monotonicMs)) {
      switch (item.kind) {
        case "allocation":
          this.#expireRelays(item, now);
          break;
        case "permission":
          expirePermission(this.#core, item, now);
          break;
        case "channel":
          expireChannel(this.#core, item, now);
          break;
        case "connection":
          this.#connections.expire(item, now);
          break;
        case "alarm":
          item.ring(now);
          break;
      }
    }
  }

  /**
   * Ends the allocations that `matches`; the number of them. For administrators, quotas and revocation. Those that are
   * being made come to nothing, and their clients must ask again; they have no id yet, and are asked about with an empty
   * one.
   */
  endAllocations(matches: (allocation: EndableAllocation) => boolean, reason: DeletionReason, now: Now): number {
    return endAllocations(this.#core, this.#allocate, matches, reason, now);
  }

  /** What lives, with its traffic until now: for administrators. */
  describeAllocations(now: Now): IterableIterator<AllocationDescription> {
    return describeAllocations(this.#core, now);
  }

  /** Holds allocations, those that are being made among them, to other limits. Those that have gone are left out. */
  changeAllocationLimits(changes: readonly LimitChange[]): void {
    for (const change of changes) this.#allocate.changeLimits(change);
  }

  /** Changes limits: what lives stays, what comes is held to them. @throws RangeError that names the limit */
  setLimits(limits: EngineLimits): void {
    this.#core.setLimits(limits);
  }

  /**
   * `ServerOptions.peerPolicy` decides otherwise than before: what stands is held to it. Channels, permissions and TCP
   * connections of peers that it denies end at once.
   */
  enforcePeerPolicy(now: Now): void {
    enforcePeerPolicy(this.#core, this.#connections, now);
  }

  shutdown(now: Now): void {
    this.#pending.cancelAll();
    this.#allocate.cancelAll();
    this.endAllocations(() => true, "shutdown", now);
  }

  pollOutput(): Output | undefined {
    return this.#core.poll();
  }

  pollTimeout(): number | undefined {
    return this.#core.registry.timers.peekDeadlineMs();
  }

  #expireRelays(allocation: Allocation, now: Now): void {
    const expired = allocation.relays.filter((relay) => relay.expiresAtMs <= now.monotonicMs);
    removeRelays(this.#core, allocation, expired, this.#whyExpired(allocation, now), now);
  }

  #whyExpired(allocation: Allocation, now: Now): DeletionReason {
    const { expiresAtUnixMs, boundsLifetime } = allocation.credential;
    const ends = this.#core.options.onCredentialExpiry === "end" || boundsLifetime;
    return ends && expiresAtUnixMs !== undefined && now.unixMs + 1000 >= expiresAtUnixMs
      ? "credentialExpired"
      : "expired";
  }

  #handleMessage(source: ClientSource, buffer: Uint8Array, offset: number, length: number, now: Now): void {
    // The two class bits are clear in requests (RFC 8489 §5).
    const isRequest = (buffer[offset]! & 0x01) === 0 && (buffer[offset + 1]! & 0x10) === 0;
    if (isRequest && !this.#mayAsk(source, now)) return;
    // The caller's buffer is used again after the input, while a request may wait for an answer.
    const bytes = this.#core.slab.take(length);
    for (let i = 0; i < length; i++) bytes[i] = buffer[offset + i]!;
    const decoded = decodeMessage(bytes);
    // Only requests are answered; Binding indications keep NAT bindings alive and ask for nothing.
    if (!decoded.ok || decoded.message.class !== "request") return;
    const request = { message: decoded.message, client: this.#clientOf(source) };
    const { methodName } = request.message;
    switch (methodName) {
      case "binding":
        handleBinding(this.#core, request, now);
        return;
      case "allocate":
      case "refresh":
      case "createPermission":
      case "channelBind":
      case "connect":
      case "connectionBind":
        if (!this.#handOver.redirect(request)) this.#handleAuthenticated(methodName, request, now);
        return;
      default:
        // RFC 8489 §6.3: a method that isn't supported is discarded silently.
        return;
    }
  }

  /**
   * Who is banned doesn't take from what its neighbours may ask. An allocation outlives a ban that came by the guesses of
   * others behind one address: its five-tuple has proven whose it is.
   */
  #mayAsk(source: ClientSource, now: Now): boolean {
    const { gate } = this.#core.options;
    if (gate === undefined) return true;
    if (!this.hasAllocation(source) && gate.isShutOut?.(source.remote, now.monotonicMs) === true) return false;
    return gate.admitsRequest(source.remote, now.monotonicMs);
  }

  #handleAuthenticated(method: AuthenticatedMethodName, request: IncomingRequest, now: Now): void {
    if (this.#pending.has(request) || this.#allocate.isUnderWay(request)) return;
    const existing = this.#allocationAskedFor(method, request);
    authenticate(this.#core, this.#pending, request, method, now, existing, (authenticated, at) => {
      const refusal = refuseUnknownAttributes(this.#core, request);
      const answer = refusal ?? this.#perform(method, request, authenticated, at);
      if (answer !== undefined) replyAuthenticated(this.#core, request, answer, authenticated.proof);
    });
  }

  /** The allocation whose key may prove a request: of its five-tuple, or of the ticket or connection it names. */
  #allocationAskedFor(method: AuthenticatedMethodName, request: IncomingRequest): Allocation | undefined {
    if (method === "connectionBind") return this.#connections.allocationOf(request.message);
    const { listener, remote } = request.client;
    return (
      (method === "refresh" ? this.#mobility.allocationOf(request.message) : undefined) ??
      this.#core.registry.findAllocation(listener, remote)
    );
  }

  /** Undefined if the request was, or will be, answered by who performs it. */
  #perform(
    method: AuthenticatedMethodName,
    request: IncomingRequest,
    authenticated: Authenticated,
    now: Now,
  ): Answering | undefined {
    const { credential } = authenticated;
    if (method === "allocate") {
      this.#allocate.handle(request, authenticated, now);
      return undefined;
    }
    if (method === "connectionBind") {
      this.#connections.bind(request, authenticated, now);
      return undefined;
    }
    if (method === "refresh" && hasAttribute(request.message, mobilityTicket)) {
      return this.#mobility.refresh(request, credential, now);
    }
    const { listener, remote } = request.client;
    const allocation = this.#core.registry.findAllocation(listener, remote);
    if (allocation === undefined) return failure(437, "Allocation Mismatch");
    const isRenewal = method === "refresh" && isNewTokenOf(allocation.credential, credential);
    if (!isRenewal && !isSameUser(allocation.credential, credential)) return failure(441, "Wrong Credentials");
    // Who asks from the new address has the answer to the move, and may never send data, but wait for some.
    if (this.#core.registry.isNextClient(allocation, listener, remote)) this.#core.registry.completeMove(allocation);
    // The allocation's own key says nothing of lifetimes: this is a token that the authenticator has seen.
    if (credential.boundsLifetime) allocation.credential = credential;
    return this.#forAllocation(method, allocation, request, authenticated.proof, now);
  }

  #forAllocation(
    method: "refresh" | "createPermission" | "channelBind" | "connect",
    allocation: Allocation,
    request: IncomingRequest,
    proof: Proof,
    now: Now,
  ): Answering | undefined {
    switch (method) {
      case "refresh":
        return refreshAllocation(this.#core, allocation, request, now);
      case "createPermission":
        return createPermission(this.#core, allocation, request, now);
      case "channelBind":
        return bindChannel(this.#core, allocation, request, now);
      case "connect":
        return this.#connections.connect(allocation, request, proof);
    }
  }

  #clientOf(source: ClientSource): ClientAddress {
    return {
      listener: source.listener,
      connection: source.connection,
      transport: this.#core.listener(source.listener).transport,
      remote: keepAddress(source.remote),
    };
  }
}
