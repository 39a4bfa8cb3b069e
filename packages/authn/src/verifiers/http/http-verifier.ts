import { Agent as HttpAgent, type IncomingMessage, request as requestHttp } from "node:http";
import { Agent as HttpsAgent, request as requestHttps } from "node:https";
import type { SecureContextOptions } from "node:tls";
import type { OperationContext } from "../../core/operation-context.ts";
import type { Secret } from "../../core/secret.ts";
import { hostOf, isLoopbackHost } from "../hosts.ts";
import { Limiter } from "../limiter.ts";
import {
  type Credentials,
  type CredentialVerifier,
  type Rejected,
  rejectImpossible,
  unavailable,
  type Verified,
  type VerifierResult,
} from "../verifier.ts";

/** How to ask an HTTP service. */
export interface HttpVerifierOptions {
  /** Names the provider in keys, logs and events. Default: `http`. */
  readonly provider?: string;
  /** Where to `POST`. `http:` only to this host, unless {@link allowPlaintext}. */
  readonly url: string;
  /** Sent as `Authorization: Bearer …`, so that the service knows who asks. */
  readonly token?: Secret;
  /** Lets passwords go unencrypted to a host that isn't this one. Default: false. */
  readonly allowPlaintext?: boolean;
  /** Certificates to trust (`ca`), a client certificate (`cert`, `key`). Default: those that Node trusts. */
  readonly tls?: Pick<SecureContextOptions, "ca" | "cert" | "key" | "minVersion">;
  /** From the question to the end of the answer, the wait for a free connection included. Default: 5,000. */
  readonly timeoutMs?: number;
  /** Default: 16. */
  readonly maxConnections?: number;
  /** How many may wait for a connection; beyond, the answer is `unavailable`. Default: 256. */
  readonly maxQueued?: number;
}

interface Reply {
  readonly status: number;
  readonly body: string;
}

const MAX_REPLY_BYTES = 65_536;
const MAX_NAMES = 1000;
const REASONS: readonly string[] = ["unknownUser", "badCredentials", "locked"] satisfies readonly Rejected["reason"][];

/**
 * Asks an HTTP service: `POST` of `{"username", "password"}` as JSON.
 *
 * | reply | means |
 * | --- | --- |
 * | 200 `{"subject", "displayName"?, "groups"?, "roles"?, "expiresAt"?}` (`expiresAt`: RFC 3339 or seconds since 1970) | verified |
 * | 401 or 403 `{"reason"}`: `unknownUser`, `badCredentials` or `locked` | rejected |
 * | anything else: no reason (it may be this verifier that isn't trusted), another status, a redirect (the password doesn't go elsewhere), no JSON, too late, too long | unavailable |
 *
 * @example
 * const verifier = new HttpVerifier({ url: "https://id.example.org/verify", token: new Secret("…") });
 */
export class HttpVerifier implements CredentialVerifier {
  readonly provider: string;
  readonly #url: URL;
  readonly #token: Secret | undefined;
  readonly #timeoutMs: number;
  readonly #agent: HttpAgent | HttpsAgent;
  readonly #freshAgent: HttpAgent | HttpsAgent;
  readonly #limiter: Limiter;
  #closed = false;

  /** @throws TypeError or RangeError if an option is wrong */
  constructor(options: HttpVerifierOptions) {
    const { provider = "http", token, tls = {}, timeoutMs = 5000, maxConnections = 16, maxQueued = 256 } = options;
    this.provider = provider;
    this.#url = parseUrl(options.url, options.allowPlaintext ?? false);
    this.#token = token;
    if (!(timeoutMs > 0 && timeoutMs <= 600_000)) throw new RangeError(`Cannot wait ${timeoutMs} ms for an answer`);
    this.#timeoutMs = timeoutMs;
    this.#limiter = new Limiter({ maxActive: maxConnections, maxQueued });
    const agentOf = (keepAlive: boolean): HttpAgent | HttpsAgent => {
      const settings = { keepAlive, maxSockets: maxConnections };
      return this.#url.protocol === "https:" ? new HttpsAgent({ ...settings, ...tls }) : new HttpAgent(settings);
    };
    this.#agent = agentOf(true);
    this.#freshAgent = agentOf(false);
  }

  async verify(ctx: OperationContext, credentials: Credentials): Promise<VerifierResult> {
    const impossible = rejectImpossible(credentials);
    if (impossible !== undefined) return impossible;
    if (this.#closed) return unavailable("the verifier was closed");
    const deadline = AbortSignal.timeout(this.#timeoutMs);
    const given = credentials.signal ?? ctx.signal;
    const signal = given === undefined ? deadline : AbortSignal.any([given, deadline]);
    try {
      return interpret(await this.#limiter.run(() => this.#post(ctx, credentials, signal), signal));
    } catch (error) {
      return unavailable(`HTTP provider "${this.provider}" gave no answer`, error);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#agent.destroy();
    this.#freshAgent.destroy();
  }

  /** A kept connection may have been closed by the service a moment ago: then the question goes once more, on its own. */
  async #post(ctx: OperationContext, credentials: Credentials, signal: AbortSignal): Promise<Reply> {
    try {
      return await this.#send(ctx, credentials, { signal, agent: this.#agent });
    } catch (error) {
      if (!(error instanceof StaleConnectionError) || signal.aborted || this.#closed) throw error;
      return await this.#send(ctx, credentials, { signal, agent: this.#freshAgent });
    }
  }

  #send(
    ctx: OperationContext,
    { username, password }: Credentials,
    { signal, agent }: { signal: AbortSignal; agent: HttpAgent | HttpsAgent },
  ): Promise<Reply> {
    const body = JSON.stringify({ username, password: password.reveal() });
    const headers = {
      "Content-Type": "application/json",
      "Content-Length": Buffer.byteLength(body),
      Accept: "application/json",
      "X-Request-Id": ctx.requestId.replaceAll(/[^\x21-\x7e]/gu, ""),
      ...(this.#token === undefined ? {} : { Authorization: `Bearer ${this.#token.reveal()}` }),
    };
    const request = this.#url.protocol === "https:" ? requestHttps : requestHttp;
    return new Promise((resolve, reject) => {
      let replied = false;
      const sent = request(this.#url, { method: "POST", agent, headers, signal }, (message) => {
        replied = true;
        readReply(message).then(resolve, (error: unknown) => {
          message.destroy();
          reject(error instanceof Error ? error : new Error(String(error)));
        });
      });
      sent.on("error", (error) => {
        const stale = sent.reusedSocket && !replied;
        reject(stale ? new StaleConnectionError("the kept connection was closed", { cause: error }) : error);
      });
      sent.end(body);
    });
  }
}

class StaleConnectionError extends Error {
  override readonly name = "StaleConnectionError";
}

function parseUrl(text: string, allowPlaintext: boolean): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !["http:", "https:"].includes(url.protocol)) {
    throw new TypeError(`Cannot ask "${text}": write an https:// URL`);
  }
  if (url.username !== "" || url.password !== "") throw new TypeError("Cannot use an URL with a password: set token");
  if (url.protocol === "http:" && !isLoopbackHost(hostOf(url)) && !allowPlaintext) {
    throw new TypeError(`Cannot send passwords to "${text}" unencrypted: use https://`);
  }
  return url;
}

async function readReply(message: IncomingMessage): Promise<Reply> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of message) {
    const bytes = Buffer.from(chunk);
    length += bytes.length;
    if (length > MAX_REPLY_BYTES) throw new RangeError(`the reply is longer than ${MAX_REPLY_BYTES} bytes`);
    chunks.push(bytes);
  }
  return { status: message.statusCode ?? 0, body: Buffer.concat(chunks).toString("utf8") };
}

function interpret({ status, body }: Reply): VerifierResult {
  if (status === 401 || status === 403) {
    const reason = fieldsOf(body)?.["reason"];
    return isReason(reason)
      ? { kind: "rejected", reason }
      : unavailable(`the service replied with status ${status} and no reason: is it the token that it refuses?`);
  }
  if (status !== 200) return unavailable(`the service replied with status ${status}`);
  const fields = fieldsOf(body);
  if (fields === undefined) return unavailable("the service replied with something else than a JSON object");
  const { subject, displayName, groups = [], roles = [], expiresAt } = fields;
  if (typeof subject !== "string" || subject === "") return unavailable("the service replied without a subject");
  if (displayName !== undefined && typeof displayName !== "string") return wrong("displayName");
  if (!isNames(groups)) return wrong("groups");
  if (!isNames(roles)) return wrong("roles");
  const expiresAtUnixMs = expiresAt === undefined ? undefined : readMoment(expiresAt);
  if (Number.isNaN(expiresAtUnixMs)) return wrong("expiresAt");
  const verified: Verified = {
    kind: "verified",
    subject,
    ...(displayName === undefined ? {} : { displayName }),
    groups,
    roles: [...new Set(roles)].toSorted(),
    ...(expiresAtUnixMs === undefined ? {} : { expiresAtUnixMs }),
  };
  return verified;
}

function wrong(field: string): VerifierResult {
  return unavailable(`the service replied with a ${field} that can't be read`);
}

function fieldsOf(body: string): Record<string, unknown> | undefined {
  try {
    const parsed: unknown = JSON.parse(body);
    return typeof parsed === "object" && parsed !== null && !Array.isArray(parsed) ? { ...parsed } : undefined;
  } catch {
    return undefined;
  }
}

function isReason(value: unknown): value is Rejected["reason"] {
  return typeof value === "string" && REASONS.includes(value);
}

function isNames(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.length <= MAX_NAMES && value.every((name) => typeof name === "string");
}

/** NaN if it is neither. */
function readMoment(value: unknown): number {
  if (typeof value === "number") return value * 1000;
  if (typeof value !== "string" || !/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/u.test(value))
    return NaN;
  return Date.parse(value);
}
