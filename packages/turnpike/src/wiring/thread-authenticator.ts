import { createRevocationList, type Revocation } from "@turnpike/authn/turn";
import type { CreateAuthenticate, Logger } from "@turnpike/relay";
import { askForAnswers } from "./ask-for-answers.ts";
import { askAuthenticator, type AuthenticatorData, createAuthenticator } from "./authenticator.ts";

/** What the authenticators of a relay's threads are told. */
export type Notice =
  | { readonly kind: "revoked"; readonly revocation: Required<Revocation> }
  /** Credentials have changed: the schemes are made anew. */
  | { readonly kind: "replaced"; readonly data: AuthenticatorData };

/** The authenticator of one thread of a relay: its own schemes, with what is slow asked of the main thread. */
export const createAuthenticate: CreateAuthenticate = (given, ask, logger) => {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- given by `startConfiguredRelay`
  const data = given as AuthenticatorData;
  const revocations = createRevocationList();
  for (const revocation of data.revocations) revocations.revoke(revocation, { nowUnixMs: Date.now() });
  const answers = askForAnswers(ask);
  const create = (from: AuthenticatorData): ReturnType<typeof askAuthenticator> =>
    askAuthenticator(
      createAuthenticator({ data: from, answers, revocations, logger: leveled(logger, from.isDebugLogged) }),
    );
  let authenticate = create(data);
  return {
    authenticate: (request, settle) => authenticate(request, settle),
    take(told) {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- told by `startConfiguredRelay`
      const notice = told as Notice;
      if (notice.kind === "revoked") revocations.revoke(notice.revocation, { nowUnixMs: Date.now() });
      else authenticate = create(notice.data);
    },
  };
};

/** Every message crosses to the main thread: those that nobody looks at stay here. */
function leveled(logger: Logger, isDebugLogged: boolean) {
  const ignore = (): void => {};
  return {
    trace: ignore,
    debug: isDebugLogged ? logger.debug.bind(logger) : ignore,
    info: logger.info.bind(logger),
    warn: logger.warn.bind(logger),
    error: logger.error.bind(logger),
  };
}
