import { describeFailure, type ClientFailure } from "@turnpike/turn";

/** What went wrong, for programs. Failures of the protocol keep the name that the engine gives them. */
export type TurnClientErrorCode =
  | ClientFailure["code"]
  /** The transport can't be had: DTLS without OpenSSL, or datagrams through a connector. */
  | "unsupportedTransport"
  /** The host name leads to no address that could be tried. */
  | "notResolved"
  /** No connection, no TLS handshake or no WebSocket came to be. */
  | "notConnected"
  /** The server's certificate or key isn't the expected one. */
  | "certificateRejected"
  /** More than one server was tried, for more than one reason: see `errors`. */
  | "allFailed"
  /** The allocation was closed. */
  | "closed";

/** Every failure of this package but wrong arguments (`TypeError`, `RangeError`, `UriError`) and aborts. */
export class TurnClientError extends Error {
  override readonly name = "TurnClientError";
  readonly code: TurnClientErrorCode;
  /** The error code of the server's answer (RFC 8489 §14.8), if it was one: 300–699. */
  readonly serverCode: number | undefined;
  /** What the engine says of it, if it was the protocol that failed. */
  readonly failure: ClientFailure | undefined;
  /** For `allFailed`: what happened with each server, in the order in which they were tried. */
  readonly errors: readonly Error[];

  constructor(
    code: TurnClientErrorCode,
    message: string,
    options: { readonly cause?: unknown; readonly failure?: ClientFailure; readonly errors?: readonly Error[] } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.failure = options.failure;
    this.serverCode = options.failure?.code === "refused" ? options.failure.error.code : undefined;
    this.errors = options.errors ?? [];
  }
}

/** A failure of the engine as an error: "Cannot allocate: the server answered 486 (Allocation Quota Reached)". */
export function failureError(what: string, failure: ClientFailure, transportError?: Error): TurnClientError {
  const message = `Cannot ${what}: ${describeFailure(failure)}`;
  if (failure.code !== "transportFailed" || transportError === undefined) {
    return new TurnClientError(failure.code, message, { failure });
  }
  return new TurnClientError(failure.code, `${message} (${transportError.message})`, {
    failure,
    cause: transportError,
  });
}

/** What `signal` was aborted with. */
export function reasonOf(signal: AbortSignal): Error {
  const reason: unknown = signal.reason;
  return reason instanceof Error ? reason : new DOMException(String(reason), "AbortError");
}

/** What was thrown, as an Error. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}

/** Settles as `promise` does, or rejects with the signal's reason if that comes first. */
export async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) throw reasonOf(signal);
  let stop: (() => void) | undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    stop = () => reject(reasonOf(signal));
    signal.addEventListener("abort", stop, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    if (stop !== undefined) signal.removeEventListener("abort", stop);
  }
}
