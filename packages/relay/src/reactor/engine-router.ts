import type { TransportAddress } from "@turnpike/stun";
import type { ClientSource } from "@turnpike/turn";
import type { ConnectionReceiver, StreamPlane } from "../streams/stream-plane.ts";

/** A frame of a client's connection, for another reactor. */
export interface RoutedFrame {
  readonly listener: number;
  readonly connection: number;
  readonly client: TransportAddress;
  readonly bytes: Uint8Array;
}

/** How the owner of a connection's allocation is reached. */
export interface OwnerGate {
  handlePacket(owner: number, frame: RoutedFrame): void;
  handleClosed(owner: number, client: Omit<RoutedFrame, "bytes">): void;
}

/** The type of a success answer to Refresh (RFC 8489 §5, RFC 8656 §17). */
const REFRESH_SUCCESS: readonly [number, number] = [0x01, 0x04];

/**
 * Stands before the reactor of streams: frames of a connection whose allocation lives in another engine, since its
 * client moved there with a ticket (RFC 8016), go to that engine from the moment that it has agreed.
 */
export class EngineRouter implements ConnectionReceiver {
  readonly #streams: Pick<StreamPlane, "find">;
  readonly #local: ConnectionReceiver;
  readonly #gate: OwnerGate;

  constructor(options: {
    readonly streams: Pick<StreamPlane, "find">;
    readonly local: ConnectionReceiver;
    readonly gate: OwnerGate;
  }) {
    this.#streams = options.streams;
    this.#local = options.local;
    this.#gate = options.gate;
  }

  /** Another engine sends to a connection. A success answer to Refresh says that it has taken the client over. */
  noteAnswer(connection: number, engine: number, bytes: Uint8Array): void {
    const client = this.#streams.find(connection);
    if (client !== undefined && bytes[0] === REFRESH_SUCCESS[0] && bytes[1] === REFRESH_SUCCESS[1]) {
      client.owner = engine;
    }
  }

  handleClientPacket(source: ClientSource, buffer: Uint8Array, offset: number, length: number): void {
    const owner = this.#streams.find(source.connection)?.owner;
    if (owner === undefined) {
      this.#local.handleClientPacket(source, buffer, offset, length);
    } else {
      this.#gate.handlePacket(owner, { ...named(source), bytes: buffer.slice(offset, offset + length) });
    }
  }

  handleClientClosed(source: ClientSource, owner?: number): void {
    if (owner === undefined) this.#local.handleClientClosed(source);
    else this.#gate.handleClosed(owner, named(source));
  }

  isClientNeeded(source: ClientSource): boolean {
    return this.#local.isClientNeeded(source);
  }
}

function named(source: ClientSource): Omit<RoutedFrame, "bytes"> {
  const { family, w0, w1, w2, w3, port } = source.remote;
  return { listener: source.listener, connection: source.connection, client: { family, w0, w1, w2, w3, port } };
}
