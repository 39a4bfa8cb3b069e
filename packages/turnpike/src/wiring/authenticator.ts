import {
  createTurnAuthenticator,
  type JwtAccessTokenResult,
  oauth,
  portalStamps,
  type Revocation,
  type RevocationList,
  Secret,
  sharedSecrets,
  type StaticUser,
  staticUsers,
  type TurnAuthenticator,
  type TurnSchemeFactory,
  webhook,
  type WebhookAnswer,
  type WebhookQuestion,
} from "@turnpike/authn/turn";
import type { Logger as AuthenticatorLogger } from "@turnpike/authn";
import type { Authenticate } from "@turnpike/relay";
import type { Credentials } from "../config/credentials.ts";
import type { Configuration } from "../config/schema.ts";
import type { Logger } from "../log.ts";

/** What an authenticator is made of, as plain data: it crosses to the threads of a relay. Secrets stand in clear. */
export interface AuthenticatorData {
  readonly realm: string;
  /** In order of precedence. */
  readonly schemes: Configuration["authn"]["schemes_turn"];
  readonly users: readonly StaticUser[];
  readonly sharedSecrets: readonly string[];
  /** What the relay told its portal to stamp credentials with. Undefined: there is no portal. */
  readonly stampSecrets: readonly string[] | undefined;
  /** Shared secrets that a portal sends, beside those of the configuration. Undefined: there is no portal. */
  readonly fleetSecrets: readonly string[] | undefined;
  readonly oauth:
    | {
        readonly serverName: string;
        readonly keys: readonly {
          readonly kid: string;
          readonly key: Uint8Array;
          readonly algorithm: OauthAlgorithm;
          readonly actor?: string;
        }[];
        readonly isJwtTaken: boolean;
      }
    | undefined;
  readonly webhook:
    | {
        readonly statusOnError: 401 | 500 | undefined;
        readonly resolvesUserhash: boolean | undefined;
      }
    | undefined;
  /** Those in force. */
  readonly revocations: readonly Required<Revocation>[];
  /** Whether logs at `debug` are looked at. */
  readonly isDebugLogged: boolean;
}

type OauthAlgorithm = Credentials["oauthKeys"][number]["algorithm"];

/** Answers what is slow: see `questions.ts`. */
export interface SlowAnswers {
  webhook(question: WebhookQuestion): Promise<WebhookAnswer>;
  jwt(token: string, at: { readonly unixMs: number }): Promise<JwtAccessTokenResult>;
}

/** Describes the authenticator of a relay. */
export function authenticatorData(options: {
  readonly configuration: Configuration;
  readonly credentials: Credentials;
  readonly logger: Logger;
  readonly stampSecrets: readonly string[] | undefined;
  readonly fleetSecrets: readonly string[] | undefined;
  readonly revocations: readonly Required<Revocation>[];
}): AuthenticatorData {
  const { configuration, credentials, logger, stampSecrets, fleetSecrets, revocations } = options;
  const { turn, relay, authn } = configuration;
  const { server_name: serverName, issuer } = turn.oauth;
  return {
    realm: relay.realm,
    schemes: authn.schemes_turn,
    users: credentials.users.map(({ name, password, key }) => ({
      name,
      ...(password === undefined ? {} : { password: password.reveal() }),
      ...(key === undefined ? {} : { key: key.reveal() }),
    })),
    sharedSecrets: credentials.sharedSecrets.map((secret) => secret.reveal()),
    stampSecrets,
    fleetSecrets,
    oauth:
      serverName === undefined
        ? undefined
        : {
            serverName,
            keys: credentials.oauthKeys.map((entry) => ({ ...entry, key: entry.key.revealBytes() })),
            isJwtTaken: issuer !== undefined,
          },
    webhook:
      turn.webhook.url === undefined
        ? undefined
        : { statusOnError: turn.webhook.status_on_error, resolvesUserhash: turn.webhook.resolves_userhash },
    revocations,
    isDebugLogged: logger.isLevelEnabled("debug"),
  };
}

/**
 * Makes the authenticator of a relay: the schemes in their order, as far as they are configured.
 *
 * @throws TypeError or RangeError if parts of the configuration don't fit together.
 */
export function createAuthenticator(options: {
  readonly data: AuthenticatorData;
  readonly answers: SlowAnswers;
  readonly revocations: RevocationList;
  readonly logger: AuthenticatorLogger;
}): TurnAuthenticator {
  const { data, answers, revocations, logger } = options;
  const { users, sharedSecrets: own, stampSecrets, fleetSecrets } = data;
  const secrets = [...own, ...(fleetSecrets ?? [])];
  const factories: Readonly<Record<AuthenticatorData["schemes"][number], () => TurnSchemeFactory | undefined>> = {
    portal: () => stampSecrets && portalStamps({ stampSecrets }),
    static: () => (users.length === 0 ? undefined : staticUsers({ users })),
    // The secret of a fleet comes when it likes: until then the scheme knows none.
    "shared-secret": () =>
      secrets.length === 0 && fleetSecrets === undefined ? undefined : sharedSecrets({ secrets: () => secrets }),
    oauth: () => oauthOf(data.oauth, answers),
    webhook: () => webhookOf(data.webhook, answers),
  };
  const schemes = data.schemes.map((name) => factories[name]()).filter((factory) => factory !== undefined);
  return createTurnAuthenticator({ realm: data.realm, schemes, revocations, logger });
}

/** The authenticator as the relay asks it: late answers find the question that they belong to. */
export function askAuthenticator(authenticator: TurnAuthenticator): Authenticate {
  const waiting = new WeakMap<object, Parameters<Authenticate>[1]>();
  authenticator.onAnswer(({ request, decision }) => {
    waiting.get(request)?.(decision);
    waiting.delete(request);
  });
  return (request, settle) => {
    const decision = authenticator.authenticate(request);
    if (decision.kind === "pending") waiting.set(request, settle);
    return decision;
  };
}

function webhookOf(settings: AuthenticatorData["webhook"], answers: SlowAnswers): TurnSchemeFactory | undefined {
  if (settings === undefined) return undefined;
  const { statusOnError, resolvesUserhash } = settings;
  return webhook({
    ask: (question) => answers.webhook(question),
    ...(statusOnError === undefined ? {} : { statusOnError }),
    ...(resolvesUserhash === undefined ? {} : { resolvesUserhash }),
  });
}

function oauthOf(settings: AuthenticatorData["oauth"], answers: SlowAnswers): TurnSchemeFactory | undefined {
  if (settings === undefined) return undefined;
  const keys = settings.keys.map((entry) => ({ ...entry, key: new Secret(entry.key) }));
  const { serverName, isJwtTaken } = settings;
  return oauth({ serverName, keys, ...(isJwtTaken ? { jwt: (token, at) => answers.jwt(token, at) } : {}) });
}
