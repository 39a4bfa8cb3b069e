import { createServer, type Server, Socket } from "node:net";
import type { Duplex } from "node:stream";
import { formatIpAddress, parseIpAddress, type TransportAddress, withPort } from "@turnpike/stun";
import type { Opened } from "../planes/plane.ts";
import { errorCode, openFailure } from "../planes/system-error.ts";
import type { BoundSockets } from "./bound-socket.ts";
import { splice, type Splice } from "./splice.ts";
import type { ResolvedStreamLimits, StreamCounts } from "./stream-options.ts";

/** Who is told of peers' connections. */
export interface PeerConnectionReceiver {
  /** A peer connected to a relay socket. Nothing is read from it until it is spliced. */
  handlePeerConnection(socket: number, peer: TransportAddress, peerConnection: number): void;
  /** A peer's connection that was spliced ended, and all its bytes were delivered. */
  handlePeerConnectionClosed(peerConnection: number): void;
}

/** What {@link TcpRelaySockets} is made with. */
export interface TcpRelaySocketsOptions {
  readonly sockets: BoundSockets;
  readonly limits: ResolvedStreamLimits;
  readonly counts: StreamCounts;
}

interface RelaySocketEntry {
  readonly local: TransportAddress;
  readonly server: Server;
  /** Connections that are being made. */
  readonly dialling: Set<Socket>;
}

interface PeerEntry {
  readonly socket: Socket;
  client: Duplex | undefined;
  splice: Splice | undefined;
}

const STREAM_BUFFER_BYTES = 65_536;
/** How long a joined connection may outlive its allocation to deliver what the client had sent. */
const FINISH_TIMEOUT_MS = 10_000;
/** Peers that have called and were not looked at yet. */
const BACKLOG = 128;

/**
 * The TCP sockets of relayed transport addresses (RFC 6062): one listens, those that connect to peers share its address.
 * What a peer sends before its connection is bound stays in the kernel's buffer, which bounds it.
 */
export class TcpRelaySockets {
  readonly #options: TcpRelaySocketsOptions;
  readonly #relaySockets: (RelaySocketEntry | undefined)[] = [];
  readonly #freeHandles: number[] = [];
  readonly #peers = new Map<number, PeerEntry>();
  readonly #closing = new Set<Promise<void>>();
  /** Joined connections whose allocation is gone, and whose last bytes are on their way. */
  readonly #finishing = new Set<PeerEntry>();
  #lastPeer = 0;
  #receiver: PeerConnectionReceiver | undefined;
  #stopped = false;

  constructor(options: TcpRelaySocketsOptions) {
    this.#options = options;
  }

  start(receiver: PeerConnectionReceiver): void {
    this.#receiver = receiver;
  }

  /** Opens a listening relay socket. */
  open(local: TransportAddress, done: (opened: Opened) => void): void {
    const { sockets } = this.#options;
    const bound = sockets.bindAlone(local);
    if (bound.kind === "failed" || this.#stopped) {
      if (bound.kind === "bound") sockets.close(bound.fd);
      done(bound.kind === "failed" ? bound : { kind: "failed", failure: "failed", code: "ECANCELED" });
      return;
    }
    const handle = this.#freeHandles.pop() ?? this.#relaySockets.length;
    const server = createServer(
      { allowHalfOpen: true, pauseOnConnect: true, noDelay: true, highWaterMark: STREAM_BUFFER_BYTES },
      (socket) => this.#handleCall(handle, socket),
    );
    this.#relaySockets[handle] = { local, server, dialling: new Set() };
    server.once("error", (error) => {
      this.#relaySockets[handle] = undefined;
      this.#freeHandles.push(handle);
      const code = errorCode(error);
      done({ kind: "failed", failure: openFailure(code), code });
    });
    server.listen({ fd: bound.fd, backlog: BACKLOG }, () => {
      server.removeAllListeners("error");
      // A call that can't be accepted is the peer's to try again.
      server.on("error", ignore);
      sockets.share(bound.fd);
      done({ kind: "opened", socket: handle, local });
    });
  }

  /** Closes a relay socket and what is being dialled from it. Connections with peers stay, for the engine to close. */
  close(socket: number, done: () => void): void {
    const entry = this.#relaySockets[socket];
    if (entry === undefined) {
      done();
      return;
    }
    this.#relaySockets[socket] = undefined;
    for (const dialling of entry.dialling) dialling.destroy();
    // A server says that it is closed when its connections are, but its port is free before.
    entry.server.close();
    this.#freeHandles.push(socket);
    done();
  }

  /**
   * Connects to a peer from a relay socket's address. Until it is spliced, what the peer sends is read as far as one
   * buffer of the stream holds. `done` gets the handle of the connection, or undefined.
   */
  connect(socket: number, peer: TransportAddress, done: (peerConnection: number | undefined) => void): void {
    const entry = this.#relaySockets[socket];
    const bound = entry && this.#options.sockets.bindShared(entry.local);
    if (entry === undefined || bound?.kind !== "bound") {
      done(undefined);
      return;
    }
    const dialled = new Socket({ fd: bound.fd, allowHalfOpen: true });
    entry.dialling.add(dialled);
    dialled.setNoDelay(true);
    const timer = setTimeout(() => dialled.destroy(), this.#options.limits.connectTimeoutMs);
    const finish = (isConnected: boolean): void => {
      clearTimeout(timer);
      entry.dialling.delete(dialled);
      dialled.off("close", fail);
      done(isConnected ? this.#addPeer(dialled) : undefined);
    };
    const fail = (): void => finish(false);
    dialled.on("error", ignore);
    dialled.once("close", fail);
    dialled.connect({ host: formatIpAddress(peer), port: peer.port }, () => finish(true));
  }

  /** Joins a peer's connection and a client's, which is closed if there is no such peer. */
  splice(peerConnection: number, client: Duplex): void {
    const entry = this.#peers.get(peerConnection);
    if (entry === undefined || entry.client !== undefined) {
      client.destroy();
      return;
    }
    entry.client = client;
    entry.splice = splice({
      client,
      peer: entry.socket,
      halfClosedTimeoutMs: this.#options.limits.halfClosedTimeoutMs,
      onClosed: () => {
        if (this.#peers.has(peerConnection)) {
          this.#removePeer(peerConnection);
          this.#receiver?.handlePeerConnectionClosed(peerConnection);
        }
      },
    });
  }

  /**
   * Closes a peer's connection, and the client's that is joined to it. `finish`: what the client had sent before still
   * goes to the peer, for a short time.
   */
  closePeer(peerConnection: number, options: { readonly finish: boolean } = { finish: false }): void {
    const entry = this.#peers.get(peerConnection);
    if (entry === undefined) return;
    this.#removePeer(peerConnection);
    if (options.finish && entry.client !== undefined) {
      this.#finishing.add(entry);
      entry.socket.once("close", () => this.#finishing.delete(entry));
      entry.splice?.finish(Math.min(FINISH_TIMEOUT_MS, this.#options.limits.halfClosedTimeoutMs));
      return;
    }
    entry.socket.destroy();
    entry.client?.destroy();
  }

  /** Closes everything. Resolves when the ports are free. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const peer of this.#peers.keys()) this.closePeer(peer);
    for (const { client, socket } of this.#finishing) {
      client?.destroy();
      socket.destroy();
    }
    for (const socket of this.#relaySockets.keys()) this.close(socket, ignore);
    await Promise.all(this.#closing);
  }

  #handleCall(handle: number, socket: Socket): void {
    socket.on("error", ignore);
    const ip = parseIpAddress(socket.remoteAddress ?? "");
    if (ip === undefined || this.#receiver === undefined) {
      socket.destroy();
      return;
    }
    const peer = withPort(ip, socket.remotePort ?? 0);
    this.#receiver.handlePeerConnection(handle, peer, this.#addPeer(socket));
  }

  #addPeer(socket: Socket): number {
    const id = ++this.#lastPeer;
    this.#peers.set(id, { socket, client: undefined, splice: undefined });
    this.#options.counts.peerConnections++;
    const closed = new Promise<void>((resolve) => {
      socket.once("close", () => {
        this.#closing.delete(closed);
        resolve();
      });
    });
    this.#closing.add(closed);
    return id;
  }

  #removePeer(peerConnection: number): void {
    if (this.#peers.delete(peerConnection)) this.#options.counts.peerConnections--;
  }
}

function ignore(): void {}
