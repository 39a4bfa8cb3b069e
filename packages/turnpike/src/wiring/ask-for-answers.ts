import type { JwtAccessTokenResult, WebhookAnswer, WebhookQuestion } from "@turnpike/authn/turn";
import type { Ask } from "@turnpike/relay";
import type { SlowAnswers } from "./authenticator.ts";

/** What the authenticators of a relay's threads ask the main thread. */
export type Question =
  | { readonly kind: "webhook"; readonly question: WebhookQuestion }
  | { readonly kind: "jwt"; readonly token: string; readonly unixMs: number };

/** A thread's side: asks a {@link Question}. */
export function askForAnswers(ask: Ask): SlowAnswers {
  const put = (question: Question): Promise<unknown> => ask(question);
  return {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the main thread answers by the function of this name
    webhook: async (question) => (await put({ kind: "webhook", question })) as WebhookAnswer,
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the main thread answers by the function of this name
    jwt: async (token, { unixMs }) => (await put({ kind: "jwt", token, unixMs })) as JwtAccessTokenResult,
  };
}
