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

/** A pair that was joined. */
export interface Splice {
  /**
   * Ends it, as its allocation is gone: the client gets nothing more, the peer what the client had sent. At most
   * `timeoutMs` pass until both are closed.
   */
  finish(timeoutMs: number): void;
}

/**
 * Carries bytes between a client's data connection and a peer's (RFC 6062 §5.4): each side is read only as fast as the
 * other takes; the end of one direction is passed on, and the other goes on; an error of one side ends both.
 */
export function splice(options: SpliceOptions): Splice {
  const { client, peer, halfClosedTimeoutMs, onClosed } = options;
  let open = 2;
  let deadline: NodeJS.Timeout | undefined;
  const handleEnd = (): void => {
    peer.setTimeout(halfClosedTimeoutMs, destroyBoth);
  };
  const handleClose = (): void => {
    open--;
    if (open === 0) {
      clearTimeout(deadline);
      onClosed();
    } else if (deadline !== undefined) {
      // A client that has said all leaves the peer to take it; any other end is the end of both.
      if (!client.readableEnded || peer.destroyed) destroyBoth();
    }
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
  } else {
    client.pipe(peer);
    peer.pipe(client);
  }
  return {
    finish(timeoutMs) {
      if (open < 2) {
        destroyBoth();
        return;
      }
      deadline = setTimeout(destroyBoth, timeoutMs);
      peer.unpipe(client);
      // Bytes that lie unread when a socket is closed make the system reset it, and what was on its way is lost with it.
      peer.resume();
      if (!client.writableEnded) client.end();
    },
  };
}

/** Finishes a side whose counterpart is gone. */
function endOf(side: Duplex): void {
  if (side.writableFinished) side.destroy();
  else side.end(() => side.destroy());
}
