/** What an operation can't do, with the HTTP status that says so. The message is for the client. */
export class PortalError extends Error {
  override readonly name: string = "PortalError";
  readonly status: number;
  readonly title: string;
  /** How long to leave it alone, in seconds. */
  readonly retryAfterSeconds: number | undefined;

  constructor(options: {
    readonly status: number;
    readonly title: string;
    readonly detail: string;
    readonly retryAfterSeconds?: number;
  }) {
    super(options.detail);
    this.status = options.status;
    this.title = options.title;
    this.retryAfterSeconds = options.retryAfterSeconds;
  }
}

/** Whoever asks is known, but may not do that. */
export class ForbiddenError extends PortalError {
  override readonly name = "ForbiddenError";
  constructor(detail: string) {
    super({ status: 403, title: "Forbidden", detail });
  }
}

/** There is no such thing, or it isn't theirs. */
export class NotFoundError extends PortalError {
  override readonly name = "NotFoundError";
  constructor(detail: string) {
    super({ status: 404, title: "Not Found", detail });
  }
}

/** It is there already, or something stands in the way. */
export class ConflictError extends PortalError {
  override readonly name = "ConflictError";
  constructor(detail: string) {
    super({ status: 409, title: "Conflict", detail });
  }
}

/** It can't be done at the moment. */
export class UnavailableError extends PortalError {
  override readonly name = "UnavailableError";
  constructor(detail: string, options: { readonly retryAfterSeconds?: number } = {}) {
    super({ status: 503, title: "Service Unavailable", detail, retryAfterSeconds: options.retryAfterSeconds ?? 5 });
  }
}
