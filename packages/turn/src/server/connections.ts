import { attribute, connectionId, encodeMessage, getAttribute, xorPeerAddress } from "@turnpike/stun";
import type { StunMessage, TransportAddress } from "@turnpike/stun";
import { type Allocation, isSameUser } from "./allocation.ts";
import type { Authenticated } from "./authenticate.ts";
import type { Answer, Now } from "./contract.ts";
import type { Core, IncomingRequest } from "./core.ts";
import type { DeletionReason } from "./events.ts";
import { PeerConnection } from "./peer-connection.ts";
import { peerReach } from "./permissions.ts";
import { fiveTupleName } from "./registry.ts";
import { failure, replyAuthenticated, success, type Answering, type Proof } from "./reply.ts";

/** RFC 6062 §5.2, §5.3: how long a peer data connection waits for its ConnectionBind. */
const BIND_TIMEOUT_MS = 30_000;
/** Ids are looked for this often before Connect is refused: with 24 random bits one attempt is enough. */
const ID_ATTEMPTS = 8;

interface Dialling {
  readonly connection: PeerConnection;
  readonly request: IncomingRequest;
  readonly proof: Proof;
}

type DialAnswer = Extract<Answer, { readonly kind: "peerConnected" | "peerConnectFailed" }>;

/** TCP allocations (RFC 6062): peers that are dialled, that call, and the client connections bound to them. */
export class Connections {
  readonly #core: Core;
  readonly #byId = new Map<number, PeerConnection>();
  readonly #byHandle = new Map<number, PeerConnection>();
  readonly #byDataClient = new Map<string, PeerConnection>();
  readonly #dialling = new Map<number, Dialling>();

  constructor(core: Core) {
    this.#core = core;
    core.beforeDelete.push((allocation, now, reason) => this.#closeAll(allocation, now, reason));
  }

  /** RFC 6062 §5.2. Undefined if the answer comes when the peer does. */
  connect(allocation: Allocation, request: IncomingRequest, proof: Proof): Answering | undefined {
    const decoded = getAttribute(request.message, xorPeerAddress);
    if (allocation.transport !== "tcp" || !decoded?.ok || decoded.value.port === 0) {
      return failure(400, "Bad Request: Connect needs a TCP allocation and an XOR-PEER-ADDRESS");
    }
    const peer = decoded.value;
    const relay = allocation.relayOf(peer.family);
    if (relay === undefined) return failure(443, "Peer Address Family Mismatch");
    if (!this.#isReachable(peer)) return failure(403, "Forbidden");
    for (const other of allocation.connections) {
      if (other.peer.port === peer.port && other.peer.w3 === peer.w3 && sameRest(other.peer, peer)) {
        return failure(446, "Connection Already Exists");
      }
    }
    const id = this.#freeId();
    if (id === undefined || allocation.connections.size >= this.#core.options.maxConnectionsPerAllocation) {
      return failure(508, "Insufficient Capacity: too many connections");
    }
    const connection = new PeerConnection({ allocation, peer, id });
    this.#add(connection);
    const questionId = this.#core.nextQuestionId();
    this.#dialling.set(questionId, { connection, request, proof });
    this.#core.output({ kind: "connectPeer", questionId, socket: relay.socket, peer });
    return undefined;
  }

  handleAnswer(answer: DialAnswer, now: Now): void {
    const dialling = this.#dialling.get(answer.questionId);
    if (dialling === undefined) return;
    this.#dialling.delete(answer.questionId);
    const { connection, request, proof } = dialling;
    const alive = this.#byId.get(connection.id) === connection;
    if (answer.kind === "peerConnectFailed") {
      if (!alive) return;
      this.#remove(connection, now);
      replyAuthenticated(this.#core, request, failure(447, "Connection Timeout or Failure"), proof);
      return;
    }
    if (!alive) {
      this.#core.output({ kind: "closePeerConnection", peerConnection: answer.peerConnection });
      return;
    }
    this.#opened(connection, answer.peerConnection, now);
    replyAuthenticated(this.#core, request, success(attribute(connectionId, connection.id)), proof);
  }

  /** RFC 6062 §5.3: a peer calls. Without a permission, or over the limit, it is closed at once. */
  handlePeerConnection(socket: number, peer: TransportAddress, handle: number, now: Now): void {
    const allocation = this.#core.registry.findBySocket(socket);
    const permission = allocation && this.#core.registry.findPermission(allocation, peer);
    const permitted =
      permission !== undefined &&
      permission.expiresAtMs > now.monotonicMs &&
      (!permission.onlyLiveRelayed || this.#core.options.hairpin.isLive(peer));
    const id = this.#freeId();
    const full = (allocation?.connections.size ?? 0) >= this.#core.options.maxConnectionsPerAllocation;
    if (allocation === undefined || !permitted || id === undefined || full) {
      this.#core.output({ kind: "closePeerConnection", peerConnection: handle });
      return;
    }
    const connection = new PeerConnection({ allocation, peer, id, handle });
    this.#add(connection);
    this.#opened(connection, handle, now);
    this.#core.output({
      kind: "sendToClient",
      listener: allocation.client.listener,
      connection: allocation.client.connection,
      destination: allocation.client.remote,
      bytes: encodeMessage({
        class: "indication",
        method: "connectionAttempt",
        transactionId: this.#core.options.random(12),
        attributes: [attribute(xorPeerAddress, peer), attribute(connectionId, id)],
      }),
    });
  }

  /** The allocation that a ConnectionBind's CONNECTION-ID belongs to: its key proves the request. */
  allocationOf(message: StunMessage): Allocation | undefined {
    const id = getAttribute(message, connectionId);
    return id?.ok ? this.#byId.get(id.value)?.allocation : undefined;
  }

  /** RFC 6062 §5.4. Answers, and then hands the client's connection over to the peer's. */
  bind(request: IncomingRequest, { credential, proof }: Authenticated, now: Now): void {
    const { client, message } = request;
    const id = getAttribute(message, connectionId);
    const connection = id?.ok ? this.#byId.get(id.value) : undefined;
    const refuse = (code: number, reason: string): void =>
      replyAuthenticated(this.#core, request, failure(code, reason), proof);
    const pending = connection !== undefined && connection.handle !== undefined && connection.data === undefined;
    // What comes by a bound connection is data; a request may still be on its way from another engine.
    const free =
      this.#core.registry.findAllocation(client.listener, client.remote) === undefined &&
      !this.#byDataClient.has(fiveTupleName(client));
    if (!this.#core.isStream(client.listener) || !pending || !free) {
      refuse(400, "Bad Request: CONNECTION-ID names no connection that waits");
      return;
    }
    if (!isSameUser(connection.allocation.credential, credential)) {
      refuse(441, "Wrong Credentials");
      return;
    }
    connection.data = client;
    this.#byDataClient.set(fiveTupleName(client), connection);
    this.#core.registry.timers.delete(connection);
    this.#event("connectionBound", connection, now);
    replyAuthenticated(this.#core, request, success(), proof);
    this.#core.output({
      kind: "bindDataConnection",
      listener: client.listener,
      connection: client.connection,
      peerConnection: connection.handle!,
    });
  }

  /** The world closed a peer data connection: the client's goes with it (RFC 6062 §5.5). */
  handlePeerConnectionClosed(handle: number, now: Now): void {
    const connection = this.#byHandle.get(handle);
    if (connection === undefined) return;
    this.#remove(connection, now);
    if (connection.data !== undefined) this.#closeClient(connection.data);
  }

  /** A client's connection ended: if it was a data connection, the peer's goes with it. */
  handleClientClosed(listener: number, remote: TransportAddress, now: Now): void {
    const connection = this.#byDataClient.get(fiveTupleName({ listener, remote }));
    if (connection === undefined) return;
    this.#remove(connection, now);
    this.#closePeer(connection);
  }

  /** The peer data connection's ConnectionBind didn't come. */
  expire(connection: PeerConnection, now: Now): void {
    this.#remove(connection, now);
    this.#closePeer(connection);
  }

  /** Ends the connections to peers that may not be reached, and the attempts. */
  endUnreachable(now: Now): void {
    for (const { connection, request, proof } of this.#dialling.values()) {
      if (this.#byId.get(connection.id) !== connection || this.#isReachable(connection.peer)) continue;
      this.#remove(connection, now);
      // The world's answer finds no connection, and has what was reached closed.
      replyAuthenticated(this.#core, request, failure(403, "Forbidden"), proof);
    }
    for (const connection of this.#byId.values()) {
      if (this.#isReachable(connection.peer)) continue;
      this.#remove(connection, now);
      this.#closePeer(connection);
      if (connection.data !== undefined) this.#closeClient(connection.data);
    }
  }

  #isReachable(peer: TransportAddress): boolean {
    const reach = peerReach(this.#core, peer);
    return reach === "all" || (reach === "onlyLiveRelayed" && this.#core.options.hairpin.isLive(peer));
  }

  #closeAll(allocation: Allocation, now: Now, reason: DeletionReason): void {
    // Requests and data go by different connections: the end of the one overtakes the last bytes of the other.
    const finish = reason === "refreshedToZero" || reason === "clientClosed";
    for (const connection of allocation.connections) {
      this.#remove(connection, now);
      this.#closePeer(connection, finish && connection.data !== undefined);
      if (connection.data !== undefined) this.#closeClient(connection.data);
    }
  }

  #opened(connection: PeerConnection, handle: number, now: Now): void {
    this.#event("connectionOpened", connection, now);
    connection.handle = handle;
    this.#byHandle.set(handle, connection);
    this.#core.registry.timers.set(connection, now.monotonicMs + BIND_TIMEOUT_MS);
  }

  #add(connection: PeerConnection): void {
    this.#byId.set(connection.id, connection);
    connection.allocation.connections.add(connection);
  }

  #remove(connection: PeerConnection, now: Now): void {
    if (connection.handle !== undefined) this.#event("connectionClosed", connection, now);
    this.#byId.delete(connection.id);
    if (connection.handle !== undefined) this.#byHandle.delete(connection.handle);
    if (connection.data !== undefined) this.#byDataClient.delete(fiveTupleName(connection.data));
    connection.allocation.connections.delete(connection);
    this.#core.registry.timers.delete(connection);
  }

  #event(
    type: "connectionOpened" | "connectionBound" | "connectionClosed",
    connection: PeerConnection,
    now: Now,
  ): void {
    if (!this.#core.wants(type)) return;
    const { allocation, id, peer } = connection;
    this.#core.event({ type, context: this.#core.context(allocation, now), connectionId: id, peer });
  }

  #closePeer(connection: PeerConnection, finish = false): void {
    if (connection.handle === undefined) return;
    this.#core.output({
      kind: "closePeerConnection",
      peerConnection: connection.handle,
      ...(finish ? { finish } : {}),
    });
  }

  #closeClient(client: { readonly listener: number; readonly connection: number }): void {
    this.#core.output({ kind: "closeClient", listener: client.listener, connection: client.connection });
  }

  /** The first byte names the engine, so that any other knows whom to hand a ConnectionBind to. */
  #freeId(): number | undefined {
    for (let attempt = 0; attempt < ID_ATTEMPTS; attempt++) {
      const random = this.#core.options.random(3);
      const id = ((this.#core.engine << 24) | (random[0]! << 16) | (random[1]! << 8) | random[2]!) >>> 0;
      if (!this.#byId.has(id)) return id;
    }
    return undefined;
  }
}

function sameRest(a: TransportAddress, b: TransportAddress): boolean {
  return a.w0 === b.w0 && a.w1 === b.w1 && a.w2 === b.w2;
}
