import { formatIpAddress } from "@turnpike/stun";
import type { LifecycleEvent, Output } from "@turnpike/turn";

/**
 * The books of what an engine makes and gives back: events, admissions, relay sockets, reservations, connections. Throws
 * at the first entry that doesn't pair.
 */
export class Ledger {
  readonly #living = new Map<string, Set<string>>();
  readonly #asked = new Set<number>();
  readonly #admitted = new Map<number, "asked" | "admitted" | "committed">();
  readonly #sockets = new Set<number>();
  readonly #peerConnections = new Set<number>();
  readonly #allocationsSeen = new Set<string>();

  /** Allocations that live, by their events. */
  get living(): number {
    return this.#living.size;
  }

  /** Allocations that were ever made. */
  get made(): number {
    return this.#allocationsSeen.size;
  }

  /** The world opened a relay socket. */
  socketOpened(socket: number): void {
    this.#add(this.#sockets, socket, "relay socket");
  }

  peerConnected(handle: number): void {
    this.#add(this.#peerConnections, handle, "peer connection");
  }

  /** The world itself closed a connection. */
  peerGone(handle: number): void {
    this.#peerConnections.delete(handle);
  }

  admissionAnswered(questionId: number, admitted: boolean): void {
    this.#asked.delete(questionId);
    if (admitted) this.#admitted.set(questionId, "admitted");
  }

  take(output: Output): void {
    switch (output.kind) {
      case "event":
        this.#event(output.event);
        break;
      case "admit":
        this.#add(this.#asked, output.questionId, "question");
        break;
      case "commitAdmission":
        check(
          this.#admitted.get(output.questionId) === "admitted",
          `${output.questionId} committed once, when admitted`,
        );
        this.#admitted.set(output.questionId, "committed");
        break;
      case "releaseAdmission":
        check(this.#admitted.delete(output.questionId), `${output.questionId} released once`);
        break;
      case "closeRelaySocket":
        check(this.#sockets.delete(output.socket), `relay socket ${output.socket} closed once`);
        break;
      case "closePeerConnection":
        check(this.#peerConnections.delete(output.peerConnection), `connection ${output.peerConnection} closed once`);
        break;
      default:
        break;
    }
  }

  /** Nothing lives, nothing is held. */
  close(): void {
    check(this.#living.size === 0, "every allocation that was created is deleted");
    check(this.#admitted.size === 0, "every admission is released");
    check(this.#sockets.size === 0, "every relay socket is closed");
    check(this.#peerConnections.size === 0, "every peer connection is closed");
  }

  #event(event: LifecycleEvent): void {
    if (!("context" in event)) return;
    const { allocationId } = event.context;
    const things = this.#living.get(allocationId);
    if (event.type === "allocationCreated") {
      this.#add(this.#allocationsSeen, allocationId, "allocation");
      this.#living.set(allocationId, new Set());
      return;
    }
    if (things === undefined) throw new Error(`${event.type} of ${allocationId}, which doesn't live`);
    if (event.type === "allocationDeleted") {
      check(things.size === 0, `what belongs to ${allocationId} is deleted before it: ${[...things].join(", ")}`);
      this.#living.delete(allocationId);
      return;
    }
    if (event.type === "allocationRefreshed" || event.type === "trafficReport") return;
    const thing = thingOf(event);
    if (event.type.endsWith("Created") || event.type.endsWith("Opened")) this.#add(things, thing, allocationId);
    else if (event.type.endsWith("Deleted") || event.type.endsWith("Closed")) {
      check(things.delete(thing), `${thing} of ${allocationId} is deleted once`);
    } else check(things.has(thing), `${event.type}: ${thing} of ${allocationId} lives`);
  }

  #add<T>(set: Set<T>, value: T, what: string): void {
    check(!set.has(value), `${what} ${String(value)} is made once`);
    set.add(value);
  }
}

function thingOf(event: Extract<LifecycleEvent, { readonly peer: unknown }>): string {
  if ("channel" in event) return `channel ${event.channel}`;
  if ("connectionId" in event) return `connection ${event.connectionId}`;
  return `permission ${formatIpAddress(event.peer)}`;
}

function check(holds: boolean, what: string): void {
  if (!holds) throw new Error(`Doesn't hold: ${what}`);
}
