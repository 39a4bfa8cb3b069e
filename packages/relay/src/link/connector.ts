import type { LinkRequest } from "./login-url.ts";

/** What becomes of a connection. After `refused` or `closed` nothing more is called. */
export interface LinkConnectionEvents {
  opened(): void;
  /** The portal answered the request with an HTTP status other than 101. */
  refused(answer: { readonly status: number; readonly retryAfter?: string }): void;
  /** A text frame. */
  frame(text: string): void;
  /** A frame that no text can be. */
  rubbish(message: string): void;
  /** Ended, or could not be made. `reason` is for logs and holds no secret. */
  closed(reason: string): void;
}

/** A connection that is being made or stands. */
export interface LinkConnection {
  send(text: string): void;
  /** Bytes that wait to be sent. */
  readonly waitingBytes: number;
  /** Lets it go, whatever its state. Nothing is called after it. */
  close(): void;
}

/** Makes connections to a portal: over the system's sockets, or whatever carries a WebSocket. */
export interface LinkConnector {
  open(request: LinkRequest, events: LinkConnectionEvents): LinkConnection;
}
