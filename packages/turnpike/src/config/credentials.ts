import { Secret } from "@turnpike/authn/core";
import { ConfiguredFiles, type FileReading } from "./configured-files.ts";
import type { LoadedConfiguration } from "./load.ts";

/** A static user: a password, or the key that was made of it. */
export interface StaticUser {
  readonly name: string;
  readonly password?: Secret;
  /** Hexadecimal: 32 digits (MD5) or 64 (SHA-256). */
  readonly key?: Secret;
}

/** A key of RFC 7635 that authorization server and relay share. */
export interface OauthKey {
  readonly kid: string;
  /** The bytes: 32 for A256GCM, 16 for A128GCM. */
  readonly key: Secret;
  readonly algorithm: "A256GCM" | "A128GCM";
  /** Whom its tokens count for. Default: the relay's name. */
  readonly actor?: string;
}

/** Who may use the relay, with the files read that the configuration names. */
export interface Credentials {
  readonly users: readonly StaticUser[];
  /** The first mints, all verify. */
  readonly sharedSecrets: readonly Secret[];
  readonly webhookToken: Secret | undefined;
  readonly oauthKeys: readonly OauthKey[];
}

/**
 * Reads the secrets of a configuration. A relative path is relative to the file that names it, or to the working
 * directory for flags and variables.
 *
 * @throws ConfigurationError if a file can't be read or is empty.
 */
export function readCredentials(loaded: LoadedConfiguration, reading: FileReading): Credentials {
  const files = new ConfiguredFiles(loaded, reading);
  const { turn } = loaded.configuration;
  const users = turn.user.map((entry, index): StaticUser => {
    if (entry.key !== undefined) return { name: entry.name, key: new Secret(entry.key) };
    const fromFile = (path: string) => files.lines(path, ["turn", "user", index, "password_file"])[0];
    const password = entry.password ?? (entry.password_file === undefined ? undefined : fromFile(entry.password_file));
    return { name: entry.name, password: new Secret(password ?? "") };
  });
  const secretsFile = turn.shared_secrets_file;
  const secrets = [
    ...turn.shared_secrets,
    ...(secretsFile === undefined ? [] : files.lines(secretsFile, ["turn", "shared_secrets_file"])),
  ];
  const { token, token_file: tokenFile } = turn.webhook;
  const webhookToken =
    token ?? (tokenFile === undefined ? undefined : files.lines(tokenFile, ["turn", "webhook", "token_file"])[0]);
  const oauthKeys = (turn.oauth.key ?? []).map(({ kid, key, key_file: file, algorithm, actor }, index): OauthKey => {
    const fromFile = (path: string) => files.lines(path, ["turn", "oauth", "key", index, "key_file"])[0];
    const keyPath = ["turn", "oauth", "key", index, file === undefined ? "key" : "key_file"];
    const bytes = Buffer.from(key ?? (file === undefined ? undefined : fromFile(file)) ?? "", "base64");
    const length = algorithm === "A256GCM" ? 32 : 16;
    if (bytes.length < length) {
      files.problem(keyPath, `must be ${length} bytes in base64, for ${algorithm}`);
    }
    return { kid, key: new Secret(bytes.subarray(0, length)), algorithm, ...(actor === undefined ? {} : { actor }) };
  });
  files.check();
  return {
    users,
    sharedSecrets: secrets.map((secret) => new Secret(secret)),
    webhookToken: webhookToken === undefined ? undefined : new Secret(webhookToken),
    oauthKeys,
  };
}
