import type { CacheSettings } from "../cache/cache-settings.ts";
import { CachedVerifier, type CachedVerifierOptions } from "../cache/cached-verifier.ts";
import { CredentialCache, type CredentialCacheOptions } from "../cache/credential-cache.ts";
import type { Clock } from "../core/clock.ts";
import type { HtpasswdVerifierOptions } from "../verifiers/htpasswd/index.ts";
import type { HttpVerifierOptions } from "../verifiers/http/index.ts";
import type { LdapVerifierOptions } from "../verifiers/ldap/index.ts";
import type { CredentialVerifier } from "../verifiers/verifier.ts";

/** The slow verifier behind Basic and login, and how to ask it: the configuration's `[external_auth]`. */
export type ExternalAuth =
  | ({ readonly kind: "ldap" } & LdapVerifierOptions)
  | ({ readonly kind: "http" } & HttpVerifierOptions)
  | ({ readonly kind: "htpasswd" } & HtpasswdVerifierOptions);

/** What {@link createExternalVerifier} goes by. */
export interface ExternalVerifierConfig
  extends
    Pick<CachedVerifierOptions, "realm" | "localCheck" | "onEvent" | "maxUnderWay">,
    Pick<CredentialCacheOptions, "clock" | "digester" | "flushBus"> {
  readonly externalAuth: ExternalAuth;
  /** The configuration's `[external_auth_cache]`. Default: not enabled; it can be enabled while in use. */
  readonly externalAuthCache?: Partial<CacheSettings>;
}

/** A verifier with the cache before it. */
export interface ExternalVerifier {
  /** What Basic and login ask. */
  readonly verifier: CredentialVerifier;
  /** To look into, to flush and to change while in use. */
  readonly cache: CredentialCache;
  /** Lets connections, workers and what is cached go. */
  readonly close: () => Promise<void>;
}

/**
 * Makes the verifier that a configuration names, the cache before it. Only the code of its kind is loaded.
 *
 * @example
 * const { verifier, cache } = await createExternalVerifier({
 *   externalAuth: { kind: "ldap", url: "ldaps://ad.example.org", userDn: "uid={username},ou=people,dc=example,dc=org" },
 *   externalAuthCache: { enabled: true, expirySeconds: 30, size: 10 },
 * });
 * const gate = new HttpGate({ name: "api", schemes: [new BasicScheme({ verifier })] });
 * @throws TypeError, RangeError or Error (an unreadable file) that says which option is wrong; nothing stays open.
 */
export async function createExternalVerifier(config: ExternalVerifierConfig): Promise<ExternalVerifier> {
  const { externalAuth, externalAuthCache, clock, digester, flushBus, realm, localCheck, onEvent, maxUnderWay } =
    config;
  const cache = new CredentialCache({
    ...externalAuthCache,
    ...(clock === undefined ? {} : { clock }),
    ...(digester === undefined ? {} : { digester }),
    ...(flushBus === undefined ? {} : { flushBus }),
  });
  try {
    const slow = await createSlow(externalAuth, clock);
    const verifier = new CachedVerifier({
      verifier: slow,
      cache,
      ...(realm === undefined ? {} : { realm }),
      ...(localCheck === undefined ? {} : { localCheck }),
      ...(onEvent === undefined ? {} : { onEvent }),
      ...(maxUnderWay === undefined ? {} : { maxUnderWay }),
    });
    return {
      verifier,
      cache,
      close: async () => {
        await verifier.close();
        cache.close();
      },
    };
  } catch (error) {
    cache.close();
    throw error;
  }
}

async function createSlow(externalAuth: ExternalAuth, clock: Clock | undefined): Promise<CredentialVerifier> {
  switch (externalAuth.kind) {
    case "ldap": {
      const { LdapVerifier } = await import("../verifiers/ldap/index.ts");
      return new LdapVerifier({ ...(clock === undefined ? {} : { clock }), ...externalAuth });
    }
    case "http": {
      const { HttpVerifier } = await import("../verifiers/http/index.ts");
      return new HttpVerifier(externalAuth);
    }
    case "htpasswd": {
      const { HtpasswdVerifier } = await import("../verifiers/htpasswd/index.ts");
      return new HtpasswdVerifier({ ...(clock === undefined ? {} : { clock }), ...externalAuth });
    }
  }
}
