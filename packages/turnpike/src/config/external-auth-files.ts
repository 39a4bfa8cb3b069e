import { Secret } from "@turnpike/authn/core";
import type { ExternalVerifierConfig } from "@turnpike/authn/external";
import { ConfiguredFiles, type FileReading } from "./configured-files.ts";
import type { LoadedConfiguration } from "./load.ts";
import { externalVerifierConfigOf } from "./schema-external-auth.ts";

/** What `[external_auth]` and `[external_auth_cache]` make. */
export type ConfiguredExternalAuth = Pick<ExternalVerifierConfig, "externalAuth" | "externalAuthCache">;

/**
 * The external authentication of a configuration, with the files read that it names; undefined if there is none.
 *
 * @throws ConfigurationError if a file can't be read or is empty
 */
export function readExternalAuth(
  loaded: LoadedConfiguration,
  reading: FileReading,
): ConfiguredExternalAuth | undefined {
  const { external_auth: auth, external_auth_cache: cache } = loaded.configuration;
  const files = new ConfiguredFiles(loaded, reading);
  const secretOf = (given: string | undefined, file: string | undefined, key: string): Secret | undefined => {
    const secret = given ?? (file === undefined ? undefined : files.lines(file, ["external_auth", key])[0]);
    return secret === undefined ? undefined : new Secret(secret);
  };
  const config = externalVerifierConfigOf(
    auth.path === undefined ? auth : { ...auth, path: files.pathOf(auth.path, ["external_auth", "path"]) },
    cache,
    {
      ca: auth.ca_file === undefined ? undefined : files.text(auth.ca_file, ["external_auth", "ca_file"]),
      bindPassword: secretOf(auth.bind_password, auth.bind_password_file, "bind_password_file"),
      token: secretOf(auth.token, auth.token_file, "token_file"),
    },
  );
  files.check();
  return config;
}
