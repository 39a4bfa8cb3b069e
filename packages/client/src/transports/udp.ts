import { createSocket, type Socket } from "node:dgram";
import { formatIpAddress } from "@turnpike/stun";
import { asError, reasonOf, TurnClientError } from "../errors.ts";
import type { ServerCandidate } from "../resolve.ts";
import {
  DEFAULT_SEND_QUEUE_BYTES,
  type OpenTransportOptions,
  type Transport,
  type TransportReceiver,
} from "./transport.ts";

/** Opens UDP to a server. @throws TurnClientError with `notConnected`; the signal's reason. */
export async function openUdp(candidate: ServerCandidate, options: OpenTransportOptions): Promise<Transport> {
  const socket = await openUdpSocket(candidate, options);
  return new UdpTransport(socket, candidate, options.sendQueueBytes ?? DEFAULT_SEND_QUEUE_BYTES);
}

/**
 * A connected UDP socket: the system drops what others than the server send.
 *
 * @throws TurnClientError with `notConnected`; the signal's reason.
 */
export async function openUdpSocket(candidate: ServerCandidate, options: OpenTransportOptions): Promise<Socket> {
  const { address } = candidate;
  const { signal, localAddress } = options;
  if (signal?.aborted === true) throw reasonOf(signal);
  const socket = createSocket({ type: address.family === 4 ? "udp4" : "udp6", recvBufferSize: RECEIVE_BUFFER_BYTES });
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once("error", reject);
      socket.once("connect", () => {
        socket.removeListener("error", reject);
        resolve();
      });
      const connect = (): void => socket.connect(address.port, formatIpAddress(address));
      if (localAddress === undefined) connect();
      else socket.bind({ address: localAddress }, connect);
    });
  } catch (error) {
    socket.close();
    throw new TurnClientError("notConnected", `Cannot open a UDP socket: ${asError(error).message}`, { cause: error });
  }
  return socket;
}

const RECEIVE_BUFFER_BYTES = 1_048_576;

/** What a UDP packet can carry: its length field less its header, and less that of IPv4 there. */
export function longestDatagram(family: 4 | 6): number {
  return family === 4 ? 65_507 : 65_527;
}

class UdpTransport implements Transport {
  readonly kind = "udp";
  readonly reliable = false;
  readonly security = undefined;
  readonly remote: Transport["remote"];
  readonly longestMessage: number;
  readonly #socket: Socket;
  readonly #sendQueueBytes: number;
  #receiver: TransportReceiver | undefined;
  #isClosed = false;

  constructor(socket: Socket, candidate: ServerCandidate, sendQueueBytes: number) {
    this.#socket = socket;
    this.remote = candidate.address;
    this.longestMessage = longestDatagram(candidate.address.family);
    this.#sendQueueBytes = sendQueueBytes;
    socket.on("error", (error) => this.#fail(error));
    socket.on("message", (message) => this.#receiver?.onPacket(message, 0, message.length));
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  get isCongested(): boolean {
    return !this.#isClosed && this.#socket.getSendQueueSize() > this.#sendQueueBytes;
  }

  send(bytes: Uint8Array): void {
    if (!this.#isClosed)
      this.#socket.send(bytes, (error) => error !== null && error !== undefined && this.#fail(error));
  }

  start(receiver: TransportReceiver): void {
    this.#receiver = receiver;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#receiver = undefined;
    this.#socket.close();
  }

  /** ICMP errors come this way (ECONNREFUSED): a hard one ends the attempt (RFC 8489 §6.2.1). */
  #fail(error: Error): void {
    if (!this.#isClosed) this.#receiver?.onRefused(error);
  }
}
