import type { Output } from "@turnpike/turn";

/** What an engine wants of others: see the contract's outputs of these kinds. */
export type HandOverOutput = Extract<Output, { kind: "handOver" | "adoptClient" | "releaseClient" }>;

/** The other reactors of a relay, as one of them reaches them. Calls don't wait, and never throw. */
export interface OtherReactors {
  /** Whether the clients of a listener are connected to another reactor. */
  isForeign(listener: number): boolean;
  /** Sends to a client of a foreign listener. */
  sendToClient(listener: number, connection: number, bytes: Uint8Array): void;
  /** Closes a connection of a foreign listener. */
  closeClient(listener: number, connection: number): void;
  carryOut(output: HandOverOutput): void;
}
