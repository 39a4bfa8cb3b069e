import { createHmac } from "node:crypto";
import { stringifySetCookie } from "cookie";
import type { ExternalActor } from "../core/actor.ts";
import { type Clock, systemClock } from "../core/clock.ts";
import type { Context } from "../core/context.ts";
import type { OperationContext } from "../core/operation-context.ts";
import type { Details, FailureReason, SchemeResult } from "../core/scheme.ts";
import { cookieValues } from "./cookie-values.ts";
import { type HttpScheme, type OpenApiSecurityScheme, quoted } from "./http-scheme.ts";
import { createId, createToken, digestToken, equalConstantTime, type RandomBytes, TOKEN_FORM } from "./opaque-token.ts";
import { headerValue, type HttpRequest, isMutation } from "./request.ts";
import { type Session, type SessionStore, type StoredSession, withoutDigest } from "./session.ts";

const SECOND_MS = 1_000;
const DEFAULT_IDLE_SECONDS = 3_600;
const DEFAULT_ABSOLUTE_SECONDS = 86_400;
const DEFAULT_TOUCH_SECONDS = 60;

/** Configuration of {@link Sessions}. */
export interface SessionsOptions {
  readonly store: SessionStore;
  /** Whether browsers come by https. The cookie is then `Secure` and its name has the `__Host-` prefix. */
  readonly secure: boolean;
  /** The cookie's name, without prefix. Default `turnpike-session`. */
  readonly cookieName?: string;
  /** Default `lax`. */
  readonly sameSite?: "lax" | "strict";
  /** A session that isn't used for this long ends. Default 3,600. */
  readonly idleSeconds?: number;
  /** A session ends after this, however much it is used. Default 86,400. */
  readonly absoluteSeconds?: number;
  /** Use is written down at most this often, so a session may end that much early. Default 60, at most a tenth of idle. */
  readonly touchSeconds?: number;
  /** Where the pages are that may make changes, as browsers write it: `https://portal.example.org`. Default: where the request went. */
  readonly origins?: readonly string[];
  readonly clock?: Clock;
  readonly random?: RandomBytes;
}

/** What a browser gets when it has signed in. */
export interface StartedSession {
  readonly session: Session;
  /** Value of a `Set-Cookie` field. A secret: never log it. */
  readonly setCookie: string;
  /** What the page sends back as `x-csrf-token` with every change. */
  readonly csrfToken: string;
}

/** Details of a request that a session cookie authenticated. */
export interface SessionDetails extends Details {
  readonly session: Session;
  /** As in {@link StartedSession}. */
  readonly csrfToken: string;
}

/**
 * Sessions of browsers: starts, finds, lists and ends them, and is the scheme `session-cookie`. A change (any method
 * but the safe ones) needs the session's CSRF token in `x-csrf-token` and, where the browser says where it came from
 * (`Sec-Fetch-Site`, `Origin`), the same origin.
 */
export class Sessions implements HttpScheme<SessionDetails> {
  readonly name = "session-cookie";
  /** The full name of the cookie. */
  readonly cookieName: string;
  readonly #store: SessionStore;
  readonly #secure: boolean;
  readonly #sameSite: "lax" | "strict";
  readonly #idleMs: number;
  readonly #absoluteMs: number;
  readonly #touchMs: number;
  readonly #origins: readonly string[] | undefined;
  readonly #clock: Clock;
  readonly #random: RandomBytes | undefined;

  /** @throws RangeError if a duration isn't positive; TypeError if the cookie's name isn't a token or an origin isn't a URL */
  constructor(options: SessionsOptions) {
    const { idleSeconds = DEFAULT_IDLE_SECONDS, absoluteSeconds = DEFAULT_ABSOLUTE_SECONDS } = options;
    const touchSeconds = options.touchSeconds ?? DEFAULT_TOUCH_SECONDS;
    if (!(idleSeconds > 0 && absoluteSeconds > 0 && touchSeconds >= 0)) {
      throw new RangeError(
        "Cannot keep sessions: idleSeconds and absoluteSeconds must be more than 0, touchSeconds at least 0",
      );
    }
    const name = options.cookieName ?? "turnpike-session";
    if (!/^[A-Za-z0-9-]{1,64}$/.test(name)) {
      throw new TypeError(`Cannot name the session cookie "${name}": use up to 64 letters, digits and "-"`);
    }
    this.cookieName = options.secure ? `__Host-${name}` : name;
    this.#store = options.store;
    this.#secure = options.secure;
    this.#sameSite = options.sameSite ?? "lax";
    this.#idleMs = idleSeconds * SECOND_MS;
    this.#absoluteMs = absoluteSeconds * SECOND_MS;
    this.#touchMs = Math.min(touchSeconds * SECOND_MS, this.#idleMs / 10);
    this.#origins = options.origins?.map((origin) => new URL(origin).origin);
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random;
  }

  /**
   * Starts a session for whoever has just proven to be `actor`. The token is always fresh, and a session that the
   * request brought along ends: a cookie that somebody planted before the sign-in opens nothing after it.
   */
  async start(ctx: OperationContext, request: HttpRequest, actor: ExternalActor): Promise<StartedSession> {
    await this.end(ctx, request);
    const token = createToken(this.#random);
    const nowUnixMs = this.#clock.unixMs();
    const stored: StoredSession = {
      id: createId(this.#random),
      tokenDigest: digestToken(token),
      actor,
      createdAtUnixMs: nowUnixMs,
      lastUsedAtUnixMs: nowUnixMs,
      expiresAtUnixMs: nowUnixMs + this.#absoluteMs,
    };
    await this.#store.insert(ctx, stored);
    return {
      session: withoutDigest(stored),
      setCookie: this.#cookie(token, this.#absoluteMs / SECOND_MS),
      csrfToken: csrfTokenOf(token),
    };
  }

  /** Ends the session that the request brought, if any; the answer is the `Set-Cookie` value that takes the cookie back. */
  async end(ctx: OperationContext, request: HttpRequest): Promise<string> {
    for (const token of cookieValues(headerValue(request, "cookie"), this.cookieName)) {
      const session = TOKEN_FORM.test(token) ? await this.#store.findByTokenDigest(ctx, digestToken(token)) : undefined;
      if (session !== undefined) await this.#store.delete(ctx, session.id);
    }
    return this.#cookie("", 0);
  }

  /** The sessions of an actor, or of everyone, that haven't ended; newest first. */
  async list(ctx: OperationContext, filter: { readonly actorId?: string } = {}): Promise<readonly Session[]> {
    const sessions = await this.#store.list(ctx, filter);
    return sessions.filter((session) => !this.#isOver(session));
  }

  /** Ends a session by its id, if it is the actor's that the filter names; tells whether it was there. */
  async revoke(ctx: OperationContext, id: string, filter: { readonly actorId?: string } = {}): Promise<boolean> {
    return this.#store.delete(ctx, id, filter);
  }

  /** Ends all sessions of an actor, but for one; tells how many. */
  async revokeAll(
    ctx: OperationContext,
    { actorId, exceptId }: { readonly actorId: string; readonly exceptId?: string },
  ): Promise<number> {
    let ended = 0;
    for (const { id } of await this.#store.list(ctx, { actorId })) {
      if (id !== exceptId && (await this.#store.delete(ctx, id))) ended++;
    }
    return ended;
  }

  /** Removes what has ended from the store; tells how many. Call it now and then. */
  async cleanUp(ctx: OperationContext): Promise<number> {
    const nowUnixMs = this.#clock.unixMs();
    return this.#store.deleteExpired(ctx, { nowUnixMs, idleSinceUnixMs: nowUnixMs - this.#idleMs });
  }

  async authenticate(ctx: OperationContext, request: HttpRequest): Promise<SchemeResult<SessionDetails>> {
    const [token, second] = cookieValues(headerValue(request, "cookie"), this.cookieName);
    if (token === undefined) return { kind: "notRequested" };
    if (second !== undefined) return badFormat(`the cookie ${this.cookieName} came twice`);
    if (!TOKEN_FORM.test(token)) return badFormat(`the cookie ${this.cookieName} is not a session token`);
    const tokenDigest = digestToken(token);
    const stored = await this.#store.findByTokenDigest(ctx, tokenDigest);
    if (stored === undefined || !equalConstantTime(stored.tokenDigest, tokenDigest)) {
      return { kind: "failed", reason: { kind: "badCredentials", note: "no such session" } };
    }
    const attemptedActor = stored.actor.id;
    if (this.#isOver(stored)) {
      await this.#store.delete(ctx, stored.id);
      return { kind: "failed", reason: { kind: "expired", attemptedActor } };
    }
    const csrfToken = csrfTokenOf(token);
    if (isMutation(request)) {
      const flaw = forgeryFlaw(request, csrfToken, this.#origins);
      if (flaw !== undefined) return { kind: "failed", reason: { kind: "forged", detail: flaw, attemptedActor } };
    }
    const nowUnixMs = this.#clock.unixMs();
    if (nowUnixMs - stored.lastUsedAtUnixMs >= this.#touchMs) await this.#store.touch(ctx, stored.id, nowUnixMs);
    return {
      kind: "authenticated",
      actor: stored.actor,
      details: {
        credentialId: stored.id,
        expiresAtUnixMs: stored.expiresAtUnixMs,
        session: withoutDigest(stored),
        csrfToken,
      },
    };
  }

  challenges(realm: string): readonly string[] {
    return [`Cookie realm=${quoted(realm)}, cookie-name=${quoted(this.cookieName)}`];
  }

  /** A dead cookie is taken back, so that the browser stops failing with it; a forged change must not sign anyone out. */
  rejectionHeaders(_request: HttpRequest, reason: FailureReason): Readonly<Record<string, string>> {
    return reason.kind === "badFormat" || reason.kind === "forged" ? {} : { "set-cookie": this.#cookie("", 0) };
  }

  get openApi(): Readonly<Record<string, OpenApiSecurityScheme>> {
    return {
      sessionCookie: {
        type: "apiKey",
        in: "cookie",
        name: this.cookieName,
        description: "Session of a browser. Changes also need the header `x-csrf-token`.",
      },
    };
  }

  #isOver(session: Session): boolean {
    const nowUnixMs = this.#clock.unixMs();
    return nowUnixMs >= session.expiresAtUnixMs || nowUnixMs - session.lastUsedAtUnixMs >= this.#idleMs;
  }

  #cookie(value: string, maxAgeSeconds: number): string {
    return stringifySetCookie({
      name: this.cookieName,
      value,
      path: "/",
      httpOnly: true,
      secure: this.#secure,
      sameSite: this.#sameSite,
      maxAge: Math.floor(maxAgeSeconds),
    });
  }
}

/** The session of a request, if a cookie authenticated it: its page needs the CSRF token. */
export function sessionDetailsOf(context: Context): SessionDetails | undefined {
  if (context.kind !== "authenticated" || context.scheme !== "session-cookie") return undefined;
  const { details } = context;
  return isSessionDetails(details) ? details : undefined;
}

function isSessionDetails(details: Details): details is SessionDetails {
  return "session" in details && "csrfToken" in details;
}

function badFormat(detail: string): SchemeResult<SessionDetails> {
  return { kind: "failed", reason: { kind: "badFormat", detail } };
}

/** Bound to the session without being stored, and of no use without the cookie. */
function csrfTokenOf(token: string): string {
  return createHmac("sha256", token).update("csrf").digest("base64url");
}

function forgeryFlaw(
  request: HttpRequest,
  csrfToken: string,
  origins: readonly string[] = [`${request.protocol}://${request.authority}`],
): string | undefined {
  const site = headerValue(request, "sec-fetch-site");
  const origin = headerValue(request, "origin");
  if (site !== undefined) {
    if (site !== "same-origin" && site !== "none") return "the change comes from another site";
  } else if (origin !== undefined && !origins.includes(origin.toLowerCase())) {
    return "the change comes from another origin";
  }
  const given = headerValue(request, "x-csrf-token");
  if (given === undefined) return "a change needs the header x-csrf-token";
  return equalConstantTime(given, csrfToken) ? undefined : "the header x-csrf-token is not this session's";
}
