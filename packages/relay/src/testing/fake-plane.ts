import { type TransportAddress, withPort } from "@turnpike/stun";
import { PlaneCounters } from "../planes/counters.ts";
import type { ForwardingPlane, Opened, OpenFailure, PacketReceiver } from "../planes/plane.ts";

/** A plane without sockets: it notes what it is asked, and answers when the test says so. */
export class FakePlane implements ForwardingPlane {
  readonly counters: PlaneCounters = new PlaneCounters();
  readonly open = new Map<number, TransportAddress>();
  readonly sent: string[] = [];
  receiver: PacketReceiver | undefined;
  /** Why opening an address fails, if it does. */
  failure: (local: TransportAddress) => { failure: OpenFailure; code: string } | undefined = () => undefined;
  /** True: what is asked waits in `waiting` until the test calls it. */
  deferred = false;
  readonly waiting: (() => void)[] = [];
  /** Addresses that were asked for, in order. */
  readonly tried: TransportAddress[] = [];
  readonly #free: number[] = [];
  #next = 0;

  start(receiver: PacketReceiver): void {
    this.receiver = receiver;
  }

  openListener(listener: number, local: TransportAddress, done: (opened: Opened) => void): void {
    done({ kind: "opened", socket: listener, local });
  }

  openRelaySocket(local: TransportAddress, done: (opened: Opened) => void): void {
    this.#answer(() => {
      this.tried.push(withPort(local, local.port));
      const failed = this.failure(local);
      if (failed !== undefined) {
        done({ kind: "failed", ...failed });
        return;
      }
      const socket = this.#free.pop() ?? this.#next++;
      this.open.set(socket, local);
      done({ kind: "opened", socket, local });
    });
  }

  closeRelaySocket(socket: number, done: () => void): void {
    this.open.delete(socket);
    this.#answer(() => {
      this.#free.push(socket);
      done();
    });
  }

  sendToClient(
    listener: number,
    connection: number,
    destination: TransportAddress,
    _buffer: Uint8Array,
    offset: number,
    length: number,
  ): void {
    this.sent.push(`client ${listener}/${connection} ${destination.port} ${offset}+${length}`);
  }

  sendToPeer(
    socket: number,
    destination: TransportAddress,
    _buffer: Uint8Array,
    offset: number,
    length: number,
    dontFragment: boolean,
  ): void {
    this.sent.push(`peer ${socket} ${destination.port} ${offset}+${length}${dontFragment ? " DF" : ""}`);
  }

  stop(): Promise<void> {
    this.open.clear();
    return Promise.resolve();
  }

  #answer(answer: () => void): void {
    if (this.deferred) {
      this.waiting.push(answer);
    } else {
      answer();
    }
  }
}
