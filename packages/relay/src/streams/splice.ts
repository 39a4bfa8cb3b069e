import type { Socket } from "node:net";
import type { Duplex } from "node:stream";

/** What {@link splice} joins. */
export interface SpliceOptions {
  /** The client's data connection, paused. */
  readonly client: Duplex;
  /** The peer's, paused. */
  readonly peer: Socket;
  /** How long one end may be silent after the other has finished. */
  readonly halfClosedTimeoutMs: number;
  /** Both are closed. Called once. */
  readonly onClosed: () => void;
}

/**
 * Carries bytes between a client's data connection and a peer's (RFC 6062 §5.4): each side is read only as fast as the
 * other takes; the end of one direction is passed on, and the other goes on; an error of one side ends both.
 */
export function splice(options: SpliceOptions): void {
  const { client, peer, halfClosedTimeoutMs, onClosed } = options;
  let open = 2;
  const handleEnd = (): void => {
    peer.setTimeout(halfClosedTimeoutMs, destroyBoth);
  };
  const handleClose = (): void => {
    open--;
    if (open === 0) onClosed();
    // What the other still has to send goes out first; it must not wait for more.
    else if (client.destroyed) endOf(peer);
    else endOf(client);
  };
  const destroyBoth = (): void => {
    client.destroy();
    peer.destroy();
  };
  for (const side of [client, peer]) {
    side.on("error", destroyBoth);
    side.once("end", handleEnd);
    if (side.destroyed) open--;
    else side.once("close", handleClose);
  }
  if (open < 2) {
    destroyBoth();
    // Not before the caller has gone on.
    if (open === 0) queueMicrotask(onClosed);
    return;
  }
  client.pipe(peer);
  peer.pipe(client);
}

/** Finishes a side whose counterpart is gone. */
function endOf(side: Duplex): void {
  if (side.writableFinished) side.destroy();
  else side.end(() => side.destroy());
}
