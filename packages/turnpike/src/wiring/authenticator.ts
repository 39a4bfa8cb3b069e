import {
  createTurnAuthenticator,
  oauth,
  portalStamps,
  type RevocationList,
  type Secrets,
  sharedSecrets,
  staticUsers,
  type TurnAuthenticator,
  type TurnSchemeFactory,
  webhook,
} from "@turnpike/authn/turn";
import type { Authenticate } from "@turnpike/relay";
import type { Credentials } from "../config/credentials.ts";
import type { Configuration } from "../config/schema.ts";
import type { Logger } from "../log.ts";

/** What the authenticator of a relay is made of. */
export interface AuthenticatorOptions {
  readonly configuration: Configuration;
  readonly credentials: Credentials;
  readonly logger: Logger;
  readonly revocations: RevocationList;
  /** What the relay told its portal to stamp credentials with. Default: there is no portal. */
  readonly stampSecrets?: Secrets | undefined;
}

/**
 * Makes the authenticator of a relay: the schemes of `authn.schemes_turn` in their order, as far as they are configured.
 *
 * @throws TypeError or RangeError if parts of the configuration don't fit together.
 */
export function createAuthenticator(options: AuthenticatorOptions): TurnAuthenticator {
  const { configuration, credentials, logger, revocations, stampSecrets } = options;
  const { turn, relay, authn } = configuration;
  const { users, sharedSecrets: secrets } = credentials;
  const factories: Readonly<Record<(typeof authn.schemes_turn)[number], () => TurnSchemeFactory | undefined>> = {
    portal: () => (stampSecrets === undefined ? undefined : portalStamps({ stampSecrets })),
    static: () => (users.length === 0 ? undefined : staticUsers({ users })),
    "shared-secret": () => (secrets.length === 0 ? undefined : sharedSecrets({ secrets })),
    oauth: () => oauthOf(turn.oauth, credentials),
    webhook: () => webhookOf(turn.webhook, credentials),
  };
  const schemes = authn.schemes_turn.map((name) => factories[name]()).filter((factory) => factory !== undefined);
  return createTurnAuthenticator({ realm: relay.realm, schemes, revocations, logger });
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

function webhookOf(
  settings: Configuration["turn"]["webhook"],
  { webhookToken }: Credentials,
): TurnSchemeFactory | undefined {
  if (settings.url === undefined) return undefined;
  return webhook({
    ask: {
      url: settings.url,
      ...(webhookToken === undefined ? {} : { token: webhookToken }),
      ...(settings.timeout === undefined ? {} : { timeoutSeconds: settings.timeout }),
      ...(settings.allow_plain_http === undefined ? {} : { allowPlainHttp: settings.allow_plain_http }),
    },
    ...(settings.status_on_error === undefined ? {} : { statusOnError: settings.status_on_error }),
    ...(settings.resolves_userhash === undefined ? {} : { resolvesUserhash: settings.resolves_userhash }),
  });
}

function oauthOf(settings: Configuration["turn"]["oauth"], credentials: Credentials): TurnSchemeFactory | undefined {
  const { server_name: serverName, issuer, audience, jwks } = settings;
  if (serverName === undefined) return undefined;
  const keys = credentials.oauthKeys;
  const jwt = {
    ...(audience === undefined ? {} : { audience }),
    ...(jwks === undefined ? {} : { jwks }),
    decryptionKeys: keys,
  };
  return oauth({ serverName, keys, ...(issuer === undefined ? {} : { jwt: { issuer, ...jwt } }) });
}
