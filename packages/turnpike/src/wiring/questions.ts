import { systemClock, systemScheduler } from "@turnpike/authn/core";
import { createHttpWebhook, jwtVerifier, type VerifyJwt, type WebhookAsk } from "@turnpike/authn/turn";
import type { Credentials } from "../config/credentials.ts";
import type { Configuration } from "../config/schema.ts";
import type { Question } from "./ask-for-answers.ts";
import type { SlowAnswers } from "./authenticator.ts";

/**
 * Answers what is slow: the webhook, and the verification of JSON Web Tokens with their issuer's keys.
 *
 * @throws TypeError or RangeError if the configuration makes no sense.
 */
export function createSlowAnswers(configuration: Configuration, credentials: Credentials): SlowAnswers {
  const ask = webhookOf(configuration.turn.webhook, credentials);
  const verify = verifierOf(configuration.turn.oauth, credentials);
  return {
    webhook: (question) => ask?.(question) ?? Promise.reject(new Error("There is no webhook")),
    jwt: (token, at) => verify?.(token, at) ?? Promise.reject(new Error("There is no issuer of tokens")),
  };
}

/** The main thread's side: answers a {@link Question}. */
export function answerQuestion(answers: SlowAnswers, question: Question): Promise<unknown> {
  return question.kind === "webhook" ? answers.webhook(question.question) : answers.jwt(question.token, question);
}

function webhookOf(settings: Configuration["turn"]["webhook"], { webhookToken }: Credentials): WebhookAsk | undefined {
  if (settings.url === undefined) return undefined;
  return createHttpWebhook(
    {
      url: settings.url,
      ...(webhookToken === undefined ? {} : { token: webhookToken }),
      ...(settings.timeout === undefined ? {} : { timeoutSeconds: settings.timeout }),
      ...(settings.allow_plain_http === undefined ? {} : { allowPlainHttp: settings.allow_plain_http }),
    },
    { scheduler: systemScheduler },
  );
}

function verifierOf(settings: Configuration["turn"]["oauth"], credentials: Credentials): VerifyJwt | undefined {
  const { server_name: serverName, issuer, audience, jwks } = settings;
  if (serverName === undefined || issuer === undefined) return undefined;
  return jwtVerifier({
    serverName,
    clock: systemClock,
    jwt: {
      issuer,
      ...(audience === undefined ? {} : { audience }),
      ...(jwks === undefined ? {} : { jwks }),
      decryptionKeys: credentials.oauthKeys,
    },
  });
}
