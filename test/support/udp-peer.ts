import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { formatIpAddress, type TransportAddress, transportAddress } from "@turnpike/stun";

/** A datagram, and who sent it. */
export interface Received {
  readonly bytes: Uint8Array;
  readonly from: TransportAddress;
}

/** A UDP socket for tests: what arrives waits until it is asked for. */
export class UdpPeer implements AsyncDisposable {
  readonly local: TransportAddress;
  readonly #socket: Socket;
  readonly #arrived: Received[] = [];
  readonly #waiting: ((received: Received) => void)[] = [];
  #closed: Promise<void> | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    const { address, port } = socket.address();
    this.local = transportAddress(address, port);
    socket.on("message", (bytes, from) => {
      const received = { bytes, from: transportAddress(from.address, from.port) };
      const waiting = this.#waiting.shift();
      if (waiting === undefined) {
        this.#arrived.push(received);
      } else {
        waiting(received);
      }
    });
  }

  /** Binds a socket. Default: any port of 127.0.0.1. */
  static async open(address = "127.0.0.1", port = 0): Promise<UdpPeer> {
    const socket = createSocket({ type: address.includes(":") ? "udp6" : "udp4", ipv6Only: address.includes(":") });
    socket.bind({ address, port, exclusive: true });
    await once(socket, "listening");
    socket.setRecvBufferSize(4 * 1024 * 1024);
    return new UdpPeer(socket);
  }

  send(bytes: Uint8Array, to: TransportAddress): void {
    this.#socket.send(bytes, to.port, formatIpAddress(to));
  }

  /** The next datagram, in the order of arrival. */
  receive(): Promise<Received> {
    const arrived = this.#arrived.shift();
    return arrived === undefined ? new Promise((resolve) => this.#waiting.push(resolve)) : Promise.resolve(arrived);
  }

  /** How many datagrams arrived and were not asked for. */
  get unread(): number {
    return this.#arrived.length;
  }

  /** Closes the socket. Calling it again gives the same promise. */
  close(): Promise<void> {
    this.#closed ??= new Promise((resolve) => this.#socket.close(() => resolve()));
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
