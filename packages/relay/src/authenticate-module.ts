import type { AuthenticationDecision, AuthenticationRequest } from "@turnpike/turn";
import type { Logger } from "./logger.ts";

/**
 * Who is asking? Answers at once, or `pending`; then `settle` is called once with the decision, at any later time.
 */
export type Authenticate = (
  request: AuthenticationRequest,
  settle: (decision: AuthenticationDecision) => void,
) => AuthenticationDecision;

/**
 * Where each thread of a relay finds who authenticates, since functions don't cross threads. What is slow, or has one
 * place only, it asks of the main thread.
 */
export interface AuthenticateModule {
  /** URL of an ES module that exports {@link CreateAuthenticate} as `createAuthenticate`. */
  readonly module: string;
  /** What it is given, as it is when a thread starts: called for each. The value must survive a structured clone. */
  readonly data: () => unknown;
  /** Answers, on the main thread, what is asked. Default: whoever asks is refused. */
  readonly answer?: (question: unknown) => Promise<unknown>;
}

/** Asks the main thread. Rejects if it can't answer. Question and answer must survive a structured clone. */
export type Ask = (question: unknown) => Promise<unknown>;

/** Who authenticates on one thread. */
export interface ThreadAuthenticator {
  readonly authenticate: Authenticate;
  /** Takes what the main thread tells by `Relay.tellAuthenticators`, in order. Default: nothing is told. */
  readonly take?: (notice: unknown) => void;
}

/** What the module of an {@link AuthenticateModule} exports. */
export type CreateAuthenticate = (
  data: unknown,
  ask: Ask,
  logger: Logger,
) => ThreadAuthenticator | Promise<ThreadAuthenticator>;

/** Makes the authenticator of this thread. */
export async function createThreadAuthenticator(options: {
  readonly module: string;
  readonly data: unknown;
  readonly ask: Ask;
  readonly logger: Logger;
}): Promise<ThreadAuthenticator> {
  // The caller named the module; there is nothing to check its type by.
  const module: { readonly createAuthenticate: CreateAuthenticate } = await import(options.module);
  return module.createAuthenticate(options.data, options.ask, options.logger);
}

/** The authenticator of the main thread, which asks nobody but itself. */
export async function createMainAuthenticator(
  authenticate: Authenticate | AuthenticateModule,
  logger: Logger,
): Promise<ThreadAuthenticator> {
  if (typeof authenticate === "function") return { authenticate };
  const { module, data, answer = refuseToAnswer } = authenticate;
  return createThreadAuthenticator({ module, data: data(), ask: answer, logger });
}

/** The default of {@link AuthenticateModule.answer}. */
export function refuseToAnswer(): Promise<never> {
  return Promise.reject(new Error("Nobody answers what the authenticators of the threads ask"));
}
