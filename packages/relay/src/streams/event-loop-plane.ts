import type { TransportAddress } from "@turnpike/stun";
import type { PlaneCounters } from "../planes/counters.ts";
import type { ForwardingPlane, Opened, PacketReceiver, TcpRelayPlane } from "../planes/plane.ts";
import type { PortablePlane } from "../planes/portable/portable-plane.ts";
import type { DtlsPlane } from "./dtls-plane.ts";
import type { SharedDatagrams } from "./shared-datagrams.ts";
import type { ConnectionReceiver, StreamPlane } from "./stream-plane.ts";
import type { PeerConnectionReceiver, TcpRelaySockets } from "./tcp-relay-sockets.ts";

/** What {@link EventLoopPlane} is made with. */
export interface EventLoopPlaneOptions {
  readonly datagrams: PortablePlane;
  readonly streams: StreamPlane;
  readonly dtls: DtlsPlane;
  /** Undefined where TCP relay sockets can't be had. */
  readonly tcpRelay: TcpRelaySockets | undefined;
}

/** Who takes what an {@link EventLoopPlane} receives. */
export type EventLoopReceiver = PacketReceiver & ConnectionReceiver & PeerConnectionReceiver;

/** How a listener's clients are sent to. */
export type ListenerKind = "datagrams" | "shared" | "streams" | "dtls";

/**
 * All that a reactor on an event loop has to do with sockets: UDP, streams, DTLS, and relay sockets of both kinds, as
 * one plane. Handles of relay sockets are even for UDP and odd for TCP.
 */
export class EventLoopPlane implements ForwardingPlane {
  readonly counters: PlaneCounters;
  readonly tcpRelay: TcpRelayPlane | undefined;
  readonly #options: EventLoopPlaneOptions;
  /** By listener id. */
  readonly #kinds: ListenerKind[] = [];
  #shared: SharedDatagrams | undefined;

  constructor(options: EventLoopPlaneOptions) {
    this.#options = options;
    this.counters = options.datagrams.counters;
    this.tcpRelay = options.tcpRelay && this.#createTcpRelay(options.tcpRelay);
  }

  start(receiver: EventLoopReceiver): void {
    const { datagrams, streams, dtls, tcpRelay } = this.#options;
    datagrams.start({
      handleClientPacket: (source, buffer, offset, length) =>
        receiver.handleClientPacket(source, buffer, offset, length),
      handlePeerPacket: (socket, peer, buffer, offset, length) =>
        receiver.handlePeerPacket(socket * 2, peer, buffer, offset, length),
      handlePeerIcmp: (socket, peer, icmp) => receiver.handlePeerIcmp(socket * 2, peer, icmp),
      handleRelaySocketError: (socket, code) => receiver.handleRelaySocketError(socket * 2, code),
    });
    this.#shared?.start(receiver);
    streams.start(receiver);
    dtls.start(receiver);
    tcpRelay?.start({
      handlePeerConnection: (socket, peer, peerConnection) =>
        receiver.handlePeerConnection(socket * 2 + 1, peer, peerConnection),
      handlePeerConnectionClosed: (peerConnection) => receiver.handlePeerConnectionClosed(peerConnection),
    });
  }

  /** Tells how the clients of a listener are sent to. Default: by datagrams. */
  setKind(listener: number, kind: ListenerKind): void {
    this.#kinds[listener] = kind;
  }

  /** UDP listeners are other reactors': what is sent to their clients goes this way. Before `start`. */
  share(shared: SharedDatagrams): void {
    this.#shared = shared;
  }

  openListener(listener: number, local: TransportAddress, done: (opened: Opened) => void): void {
    this.#options.datagrams.openListener(listener, local, done);
  }

  openRelaySocket(local: TransportAddress, done: (opened: Opened) => void): void {
    this.#options.datagrams.openRelaySocket(local, (opened) =>
      done(opened.kind === "opened" ? { ...opened, socket: opened.socket * 2 } : opened),
    );
  }

  closeRelaySocket(socket: number, done: () => void): void {
    if (socket % 2 === 0) this.#options.datagrams.closeRelaySocket(socket / 2, done);
    else if (this.#options.tcpRelay === undefined) done();
    else this.#options.tcpRelay.close((socket - 1) / 2, done);
  }

  sendToClient(
    listener: number,
    connection: number,
    destination: TransportAddress,
    buffer: Uint8Array,
    offset: number,
    length: number,
  ): void {
    switch (this.#kinds[listener]) {
      case "streams":
        this.#options.streams.sendToClient(connection, buffer, offset, length);
        return;
      case "dtls":
        this.#options.dtls.sendToClient(connection, buffer, offset, length);
        return;
      case "shared":
        this.#shared?.sendToClient(listener, destination, buffer, offset, length);
        return;
      default:
        this.#options.datagrams.sendToClient(listener, connection, destination, buffer, offset, length);
    }
  }

  sendToPeer(
    socket: number,
    destination: TransportAddress,
    buffer: Uint8Array,
    offset: number,
    length: number,
    dontFragment: boolean,
  ): void {
    this.#options.datagrams.sendToPeer(socket / 2, destination, buffer, offset, length, dontFragment);
  }

  closeClient(listener: number, connection: number): void {
    if (this.#kinds[listener] === "dtls") this.#options.dtls.closeClient(connection);
    else this.#options.streams.closeClient(connection);
  }

  async stop(): Promise<void> {
    const { datagrams, streams, dtls, tcpRelay } = this.#options;
    await Promise.all([this.#shared?.stop(), datagrams.stop(), streams.stop(), dtls.stop(), tcpRelay?.stop()]);
  }

  #createTcpRelay(tcpRelay: TcpRelaySockets): TcpRelayPlane {
    const { streams } = this.#options;
    return {
      openRelaySocket: (local, done) =>
        tcpRelay.open(local, (opened) =>
          done(opened.kind === "opened" ? { ...opened, socket: opened.socket * 2 + 1 } : opened),
        ),
      connectPeer: (socket, peer, done) => tcpRelay.connect((socket - 1) / 2, peer, done),
      bindDataConnection: (_listener, connection, peerConnection) => {
        const client = streams.takeOver(connection);
        if (client === undefined) tcpRelay.closePeer(peerConnection);
        else tcpRelay.splice(peerConnection, client);
      },
      closePeerConnection: (peerConnection, options) => tcpRelay.closePeer(peerConnection, options),
    };
  }
}
