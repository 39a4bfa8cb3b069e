import type { Scheduler } from "../core/clock.ts";
import { Secret } from "../core/secret.ts";
import type { readWebhookAnswer as ReadWebhookAnswer } from "./webhook-answer.ts";
import type { WebhookAnswer, WebhookQuestion } from "./webhook-messages.ts";

/** Asks somebody. What it throws counts as no answer. */
export type WebhookAsk = (question: WebhookQuestion) => Promise<WebhookAnswer>;

/** An HTTP endpoint to ask. */
export interface HttpWebhookOptions {
  /** `https:`, or `http:` on loopback. It gets a POST of {@link WebhookQuestion} as JSON. */
  readonly url: string;
  /** Sent as `Authorization: Bearer …`. */
  readonly token?: string | Secret;
  /** Allow plain `http:` to other hosts: whoever is between here and there learns the keys. Default false. */
  readonly allowPlainHttp?: boolean;
  /** Until the answer must be complete. Default 5. */
  readonly timeoutSeconds?: number;
  /** Default: the runtime's `fetch`. */
  readonly fetch?: typeof fetch;
}

/** Longer answers are cut off. */
const MAX_ANSWER_BYTES = 16_384;

/**
 * Asks by HTTP. Only status 200 with a well-formed answer counts; 404 is `unknown`, 403 is `deny`. Redirects are not
 * followed, since the question would go to whom nobody configured.
 *
 * @throws TypeError if the URL can't be used; RangeError if the time-out is not positive.
 */
export function createHttpWebhook(
  options: HttpWebhookOptions,
  { scheduler }: { readonly scheduler: Scheduler },
): WebhookAsk {
  const url = checkedUrl(options);
  const { timeoutSeconds = 5, fetch: fetchIt = fetch } = options;
  if (!(timeoutSeconds > 0 && Number.isFinite(timeoutSeconds))) {
    throw new RangeError("Cannot ask this webhook: timeoutSeconds must be a positive number");
  }
  const token = options.token === undefined ? undefined : new Secret(textOf(options.token));
  // Schemas are loaded by those alone who ask: each thread of a relay would pay for them.
  const reader = import("./webhook-answer.ts");

  return async (question) => {
    const controller = new AbortController();
    const cancel = scheduler.schedule(timeoutSeconds * 1000, () => {
      controller.abort(new WebhookError("timeout", "The webhook did not answer in time"));
    });
    try {
      const response = await fetchIt(url, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          accept: "application/json",
          ...(token === undefined ? {} : { authorization: `Bearer ${token.reveal()}` }),
        },
        body: JSON.stringify(question),
        redirect: "error",
        signal: controller.signal,
      });
      if (response.status === 200) return readAnswer(await readBounded(response), (await reader).readWebhookAnswer);
      await response.body?.cancel();
      if (response.status === 403) return { result: "deny" };
      if (response.status === 404) return { result: "unknown" };
      throw new WebhookError("status", `The webhook answered with status ${String(response.status)}`);
    } catch (error) {
      const reason: unknown = controller.signal.aborted ? controller.signal.reason : error;
      if (reason instanceof WebhookError) throw reason;
      throw new WebhookError("unreachable", "The webhook can't be reached", { cause: reason });
    } finally {
      cancel();
    }
  };
}

/** Why there is no answer. */
export class WebhookError extends Error {
  override readonly name = "WebhookError";
  readonly code: "timeout" | "status" | "unreachable" | "badAnswer";

  constructor(code: WebhookError["code"], message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

async function readBounded(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  let length = 0;
  for await (const chunk of response.body ?? []) {
    length += chunk.length;
    if (length > MAX_ANSWER_BYTES) throw new WebhookError("badAnswer", "The webhook's answer is too long");
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

function readAnswer(text: string, readWebhookAnswer: typeof ReadWebhookAnswer): WebhookAnswer {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    throw new WebhookError("badAnswer", "The webhook's answer is not JSON");
  }
  const { answer, places } = readWebhookAnswer(body);
  if (answer !== undefined) return answer;
  throw new WebhookError("badAnswer", `The webhook's answer is malformed at: ${places.join(", ")}`);
}

function checkedUrl(options: HttpWebhookOptions): URL {
  const url = URL.parse(options.url);
  if (url === null || !["https:", "http:"].includes(url.protocol) || url.username !== "" || url.password !== "") {
    throw new TypeError("Cannot ask this webhook: its URL must be http: or https:, without a user (use `token`)");
  }
  const isPrivate = url.protocol === "https:" || ["127.0.0.1", "[::1]", "localhost"].includes(url.hostname);
  if (!isPrivate && options.allowPlainHttp !== true) {
    throw new TypeError(
      "Cannot ask this webhook by plain http: use https:, or set allowPlainHttp if nobody is between",
    );
  }
  return url;
}

function textOf(secret: string | Secret): string {
  return typeof secret === "string" ? secret : secret.reveal();
}
