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

/** A connected UDP socket: the system drops what others than the server send. */
export async function openUdp(candidate: ServerCandidate, options: OpenTransportOptions): Promise<Transport> {
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
  return new UdpTransport(socket, candidate, options.sendQueueBytes ?? DEFAULT_SEND_QUEUE_BYTES);
}

const RECEIVE_BUFFER_BYTES = 1_048_576;

class UdpTransport implements Transport {
  readonly kind = "udp";
  readonly reliable = false;
  readonly security = undefined;
  readonly remote: Transport["remote"];
  readonly #socket: Socket;
  readonly #sendQueueBytes: number;
  #receiver: TransportReceiver | undefined;
  #isClosed = false;

  constructor(socket: Socket, candidate: ServerCandidate, sendQueueBytes: number) {
    this.#socket = socket;
    this.remote = candidate.address;
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
    if (!this.#isClosed) this.#receiver?.onClosed(error);
  }
}
