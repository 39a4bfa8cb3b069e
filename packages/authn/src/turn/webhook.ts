import { formatIpAddress, longTermKey } from "@turnpike/stun";
import type { PasswordAlgorithm, TurnRequest } from "./request.ts";
import { type QuestionLimits, QuestionLimiter } from "./question-limiter.ts";
import {
  PASSWORD_ALGORITHMS,
  proven,
  refused,
  type TurnEnvironment,
  type TurnScheme,
  type TurnSchemeFactory,
  type TurnSchemeResult,
  unproven,
} from "./scheme.ts";
import { createHttpWebhook, type HttpWebhookOptions, type WebhookAsk } from "./webhook-http.ts";
import type { WebhookAnswer, WebhookQuestion } from "./webhook-messages.ts";

/** What {@link webhook} needs. */
export interface WebhookOptions extends QuestionLimits {
  /** Who is asked: an HTTP endpoint, or a function (such as one that asks another thread). */
  readonly ask: HttpWebhookOptions | WebhookAsk;
  /**
   * What a client gets if the answer can't be had: 500 (try again, the default), or 401 (as if its password were wrong).
   * It is never let in.
   */
  readonly statusOnError?: 401 | 500;
  /** Whether a question with `userhash` is answered with the user's name. Default false. */
  readonly resolvesUserhash?: boolean;
  /** For which algorithms it has the key of every user. Default: both. */
  readonly passwordAlgorithms?: readonly PasswordAlgorithm[];
}

/**
 * The scheme `webhook`: asks somebody else for the user's key. Requests that ask the same thing at the same time are one
 * question. A request with an ACCESS-TOKEN is none of its own.
 *
 * `deny` is final; with `unknown`, or with a key that the message wasn't made with, a later scheme may still prove it.
 *
 * The factory throws RangeError for a wrong limit or time-out, TypeError for a URL that can't be used.
 */
export function webhook(options: WebhookOptions): TurnSchemeFactory {
  return (environment) => {
    const limiter = new QuestionLimiter(options);
    const ask = typeof options.ask === "function" ? options.ask : createHttpWebhook(options.ask, environment);
    const open = new Map<string, Promise<WebhookAnswer>>();
    const { statusOnError = 500, resolvesUserhash = false, passwordAlgorithms = PASSWORD_ALGORITHMS } = options;

    const askOnce = async (question: WebhookQuestion): Promise<WebhookAnswer> => {
      const name = JSON.stringify(question);
      const same = open.get(name);
      if (same !== undefined) return same;
      const answer = ask(question).finally(() => open.delete(name));
      open.set(name, answer);
      return answer;
    };
    // Each request that waits is kept in memory, so each counts, be its question its own or not.
    const answerTo = async (request: TurnRequest): Promise<WebhookAnswer> =>
      limiter.run(request.client, async () => askOnce(questionOf(request)));

    return {
      name: "webhook",
      passwordAlgorithms,
      resolvesUserhash,
      authenticate(_ctx, request) {
        const { username, userhash, accessToken } = request;
        if (accessToken !== undefined) return { kind: "notRequested" };
        if (username === undefined && (userhash === undefined || !resolvesUserhash)) return { kind: "notRequested" };
        return answerTo(request).then(
          (answer) => judge(request, answer, environment),
          (cause: unknown): TurnSchemeResult => {
            if (statusOnError === 401) return refused("badCredentials", { user: username, note: "webhook failed" });
            return { kind: "unavailable", cause, ...(username === undefined ? {} : { attemptedActor: username }) };
          },
        );
      },
    } satisfies TurnScheme;
  };
}

function questionOf(request: TurnRequest): WebhookQuestion {
  const { method, realm, username, userhash, passwordAlgorithm, transport } = request;
  return {
    version: 1,
    method,
    realm,
    ...(username === undefined ? {} : { username }),
    ...(userhash === undefined ? {} : { userhash: Buffer.from(userhash).toString("hex") }),
    passwordAlgorithm,
    clientAddress: formatIpAddress(request.client),
    transport,
  };
}

function judge(request: TurnRequest, answer: WebhookAnswer, environment: TurnEnvironment): TurnSchemeResult {
  const { realm, crypto } = environment;
  const algorithm = request.passwordAlgorithm;
  if (answer.result === "deny") return refused("badCredentials", { user: request.username, note: "denied" });
  const username = request.username ?? (answer.result === "allow" ? answer.username : undefined);
  if (answer.result === "unknown" || username === undefined) {
    request.checkIntegrity(environment.decoyKey(algorithm));
    return unproven("unknownActor", username);
  }
  const user = answer.actor ?? username;
  const key =
    answer.password === undefined
      ? Buffer.from(answer.key ?? "", "hex")
      : longTermKey({ algorithm, username, realm, password: answer.password, crypto });
  if (key.length !== KEY_LENGTHS[algorithm]) {
    return { kind: "unavailable", cause: new TypeError(`The webhook answered with a key that is no ${algorithm} key`) };
  }
  if (!request.checkIntegrity(key)) return unproven("badCredentials", user);
  const { expiresAt, label, credentialId = username } = answer;
  if (expiresAt !== undefined && !(expiresAt * 1000 > request.unixMs)) return refused("expired", { user });
  return proven(user, {
    username,
    key,
    credentialId,
    ...(expiresAt === undefined ? {} : { expiresAtUnixMs: expiresAt * 1000 }),
    ...(label === undefined ? {} : { label }),
  });
}

const KEY_LENGTHS: Readonly<Record<PasswordAlgorithm, number>> = { md5: 16, sha256: 32 };
