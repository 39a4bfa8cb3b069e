import type { Duplex } from "node:stream";
import { encodeUtf8, formatIpAddress, type IpAddress, type TransportAddress } from "@turnpike/stun";
import type { Allocated, ClientTransport } from "@turnpike/turn";
import type { Abortable, Allocation, AllocationHandlers, AllocationStats } from "./allocation.ts";
import { openDataConnection } from "./data-connection.ts";
import { DatagramQueue, type Datagram, type QueueLimits } from "./datagram-queue.ts";
import type { ClientDriver, Notice } from "./driver.ts";
import { asError, failureError, TurnClientError } from "./errors.ts";
import { readHost, readPeer, type PeerAddress, type PeerHost } from "./peer-address.ts";
import type { ServerCandidate } from "./resolve.ts";
import { openTransport } from "./transports/open.ts";
import type { OpenTransportOptions, TransportSecurity } from "./transports/transport.ts";

/** What an allocation is made of. */
export interface TurnAllocationOptions {
  readonly driver: ClientDriver;
  readonly granted: Allocated;
  /** How to open further connections to the same server. */
  readonly candidate: ServerCandidate;
  readonly transport: OpenTransportOptions;
  readonly handlers: AllocationHandlers;
  readonly limits: QueueLimits;
  readonly autoPermit: boolean;
  readonly isTcp: boolean;
}

/** Datagrams that may wait for the permission of one address, and addresses that they may wait for. */
const MAXIMUM_WAITING = 64;
const MAXIMUM_WAITING_PEERS = 256;
/** How long the server may take to answer the Refresh that ends an allocation. */
const CLOSE_TIMEOUT_MS = 2000;
/** RFC 6062 §5.3: a call that nobody answers is over after 30 seconds. */
const CALL_TIMEOUT_MS = 30_000;

/** The allocation behind {@link Allocation}. */
export class TurnAllocation implements Allocation {
  readonly granted: Allocated;
  readonly closed: Promise<TurnClientError | undefined>;
  readonly #driver: ClientDriver;
  readonly #candidate: ServerCandidate;
  readonly #transport: OpenTransportOptions;
  readonly #handlers: AllocationHandlers;
  readonly #queue: DatagramQueue;
  readonly #autoPermit: boolean;
  readonly #isTcp: boolean;
  /** Addresses that `send` may go to, and datagrams that wait until it may. */
  readonly #permitted = new Set<string>();
  readonly #waiting = new Map<string, { readonly peer: TransportAddress; readonly data: Uint8Array }[]>();
  /** Connections to peers, which end with the allocation. */
  readonly #connections = new Set<Duplex>();
  readonly #over = new AbortController();
  #end!: (error: TurnClientError | undefined) => void;
  #isOver = false;
  #closing: Promise<Error | undefined> | undefined;
  #sent = 0;
  #received = 0;
  #droppedOutgoing = 0;

  constructor(options: TurnAllocationOptions) {
    this.#driver = options.driver;
    this.granted = options.granted;
    this.#candidate = options.candidate;
    this.#transport = options.transport;
    this.#handlers = options.handlers;
    this.#queue = new DatagramQueue(options.limits);
    this.#autoPermit = options.autoPermit;
    this.#isTcp = options.isTcp;
    this.closed = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  get relayedAddress(): TransportAddress {
    return this.granted.relayed[0]!;
  }

  get relayedAddresses(): readonly TransportAddress[] {
    return this.granted.relayed;
  }

  get mappedAddress(): TransportAddress {
    return this.granted.mapped;
  }

  get server(): TransportAddress {
    return this.#driver.transport.remote;
  }

  get transport(): ClientTransport {
    return this.#driver.transport.kind;
  }

  get security(): TransportSecurity | undefined {
    return this.#driver.transport.security;
  }

  get stats(): AllocationStats {
    return {
      sent: this.#sent,
      received: this.#received,
      droppedOutgoing: this.#droppedOutgoing,
      droppedIncoming: this.#queue.dropped,
    };
  }

  send(peer: PeerAddress, data: Uint8Array | string): boolean {
    const address = readPeer(peer);
    const bytes = typeof data === "string" ? encodeUtf8(data) : data;
    if (bytes.length > LONGEST_DATAGRAM) {
      throw new RangeError(`Cannot send ${bytes.length} bytes: a datagram has at most ${LONGEST_DATAGRAM}`);
    }
    if (this.#isTcp) throw new TypeError("Cannot send: a TCP allocation has connections, no datagrams; use connect()");
    if (this.#isOver) throw new TurnClientError("closed", "Cannot send: the allocation is over");
    const name = formatIpAddress(address);
    if (!this.#autoPermit || this.#permitted.has(name)) return this.#sendNow(address, bytes);
    return this.#sendOncePermitted(name, address, bytes);
  }

  async permit(peers: PeerHost | readonly PeerHost[], options: Abortable = {}): Promise<void> {
    const hosts = (Array.isArray(peers) ? peers : [peers]).map((peer: PeerHost) => readHost(peer));
    for (let start = 0; start < hosts.length; start += PEERS_PER_REQUEST) {
      const some = hosts.slice(start, start + PEERS_PER_REQUEST);
      await this.#driver.perform("permit the peer", (engine, now) => engine.permit(some, now), options.signal);
      for (const host of some) this.#nowPermitted(host);
    }
  }

  async bindChannel(peer: PeerAddress, options: Abortable = {}): Promise<number> {
    const address = readPeer(peer);
    const completion = await this.#driver.perform(
      "bind a channel",
      (engine, now) => engine.bindChannel(address, now),
      options.signal,
    );
    this.#nowPermitted(address);
    return completion.method === "bindChannel" ? completion.channel : 0;
  }

  forget(peer: PeerHost): void {
    const host = readHost(peer);
    this.#permitted.delete(formatIpAddress(host));
    this.#driver.tell((engine) => engine.forget(host));
  }

  async connect(peer: PeerAddress, options: Abortable = {}): Promise<Duplex> {
    const address = readPeer(peer);
    if (!this.#isTcp) throw new TypeError('Cannot connect: allocate with relay: "tcp" for connections to peers');
    const { signal } = options;
    const completion = await this.#driver.perform(
      "connect to the peer",
      (engine, now) => engine.connect(address, now),
      signal,
    );
    const id = completion.method === "connect" ? completion.connectionId : 0;
    return this.#openData(id, signal);
  }

  async refresh(options: Abortable & { readonly lifetimeSeconds?: number } = {}): Promise<number> {
    const { lifetimeSeconds, signal } = options;
    const completion = await this.#driver.perform(
      "refresh the allocation",
      (engine, now) => engine.refresh(lifetimeSeconds, now),
      signal,
    );
    return completion.method === "refresh" ? completion.lifetimeSeconds : 0;
  }

  async move(options: Abortable = {}): Promise<void> {
    const { signal } = options;
    const candidate = { ...this.#candidate, address: this.server };
    const transport = await openTransport(
      candidate,
      signal === undefined ? this.#transport : { ...this.#transport, signal },
    );
    const old = this.#driver.replaceTransport(transport);
    try {
      await this.#driver.perform("move the allocation", (engine, now) => engine.move(now), signal);
    } catch (error) {
      // The old way may still be good: RFC 8016 §3.2.2.
      this.#driver.restoreTransport(old).close();
      throw error;
    }
    old.close();
  }

  async close(): Promise<void> {
    await this.end();
  }

  /** As {@link close}; says why the server could not be told. */
  end(): Promise<Error | undefined> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncIterator](): AsyncIterator<Datagram, void, undefined> {
    return this.#queue.read();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** For the driver: a datagram arrived. */
  receive(peer: TransportAddress, data: Uint8Array, channel: number): void {
    this.#received++;
    const datagram = { peer, data, channel };
    if (this.#handlers.onDatagram === undefined) this.#queue.push(datagram);
    else this.#handlers.onDatagram(datagram);
  }

  /** For the driver: something happened. */
  notice(notice: Notice): void {
    switch (notice.kind) {
      case "connectionAttempt":
        void this.#accept(notice.peer, notice.connectionId);
        return;
      case "icmp":
        this.#handlers.onIcmp?.(notice.peer, notice.icmp);
        return;
      case "permissionLost":
        this.#permitted.delete(formatIpAddress(notice.peer));
        this.#handlers.onLost?.("permission", notice.peer, notice.failure);
        return;
      case "channelLost":
        this.#handlers.onLost?.("channel", notice.peer, notice.failure);
        return;
      case "allocationLost":
        this.#finish(failureError("keep the allocation", notice.failure));
        return;
      case "refreshed":
        return;
    }
  }

  #sendNow(peer: TransportAddress, data: Uint8Array): boolean {
    const wasSent = this.#driver.sendDatagram(peer, data);
    if (wasSent) this.#sent++;
    else this.#droppedOutgoing++;
    return wasSent;
  }

  #sendOncePermitted(name: string, peer: TransportAddress, data: Uint8Array): boolean {
    const waiting = this.#waiting.get(name);
    if (waiting === undefined ? this.#waiting.size >= MAXIMUM_WAITING_PEERS : waiting.length >= MAXIMUM_WAITING) {
      this.#droppedOutgoing++;
      return false;
    }
    // The caller's buffer may be used again before the permission is there.
    const item = { peer, data: new Uint8Array(data) };
    if (waiting !== undefined) {
      waiting.push(item);
      return true;
    }
    this.#waiting.set(name, [item]);
    this.permit(peer).catch((error: unknown) => {
      this.#droppedOutgoing += this.#waiting.get(name)?.length ?? 0;
      this.#waiting.delete(name);
      if (error instanceof TurnClientError && error.failure !== undefined) {
        this.#handlers.onLost?.("permission", peer, error.failure);
      }
    });
    return true;
  }

  #nowPermitted(host: IpAddress): void {
    const name = formatIpAddress(host);
    this.#permitted.add(name);
    const waiting = this.#waiting.get(name) ?? [];
    this.#waiting.delete(name);
    for (const { peer, data } of waiting) this.#sendNow(peer, data);
  }

  async #accept(peer: TransportAddress, connectionId: number): Promise<void> {
    const { onConnection } = this.#handlers;
    if (onConnection === undefined) return;
    let connection: Duplex;
    try {
      connection = await this.#openData(connectionId, AbortSignal.timeout(CALL_TIMEOUT_MS));
    } catch {
      // The server closes what is not bound in time (RFC 6062 §5.3); the peer sees that.
      return;
    }
    onConnection(connection, peer);
  }

  async #openData(connectionId: number, signal: AbortSignal | undefined): Promise<Duplex> {
    const connection = await openDataConnection({
      client: this.#driver.engine,
      connectionId,
      candidate: { ...this.#candidate, address: this.server },
      transport: this.#transport,
      signal: signal === undefined ? this.#over.signal : AbortSignal.any([signal, this.#over.signal]),
    });
    this.#connections.add(connection);
    connection.once("close", () => this.#connections.delete(connection));
    return connection;
  }

  async #close(): Promise<Error | undefined> {
    let error: Error | undefined;
    if (!this.#isOver) {
      const signal = AbortSignal.timeout(CLOSE_TIMEOUT_MS);
      try {
        await this.#driver.perform("close the allocation", (engine, now) => engine.close(now), signal);
      } catch (thrown) {
        // The server ends it by itself when its lifetime is over.
        error = signal.aborted
          ? new TurnClientError("timeout", `Cannot close the allocation: no answer within ${CLOSE_TIMEOUT_MS / 1000} s`)
          : asError(thrown);
      }
    }
    this.#finish(undefined);
    return error;
  }

  #finish(error: TurnClientError | undefined): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#waiting.clear();
    this.#queue.end(error);
    this.#driver.destroy();
    this.#over.abort(error ?? new TurnClientError("closed", "Cannot connect to the peer: the allocation was closed"));
    for (const connection of this.#connections) connection.destroy();
    this.#end(error);
  }
}

/** What a UDP packet over IPv4 can carry. */
const LONGEST_DATAGRAM = 65_507;
/** Peers in one CreatePermission request, so that it fits into every path. */
const PEERS_PER_REQUEST = 32;
