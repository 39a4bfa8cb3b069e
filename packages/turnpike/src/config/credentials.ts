import { dirname, isAbsolute, join } from "node:path";
import { Secret } from "@turnpike/authn";
import { ConfigurationError, type Problem } from "../errors.ts";
import type { LoadedConfiguration, Source } from "./load.ts";
import { keyName } from "./setting.ts";

/** A static user: a password, or the key that was made of it. */
export interface StaticUser {
  readonly name: string;
  readonly password?: Secret;
  /** Hexadecimal: 32 digits (MD5) or 64 (SHA-256). */
  readonly key?: Secret;
}

/** Who may use the relay, with the files read that the configuration names. */
export interface Credentials {
  readonly users: readonly StaticUser[];
  /** The first mints, all verify. */
  readonly sharedSecrets: readonly Secret[];
}

/**
 * Reads the secrets of a configuration. A relative path is relative to the file that names it, or to the working
 * directory for flags and variables.
 *
 * @throws ConfigurationError if a file can't be read or is empty.
 */
export function readCredentials(
  loaded: LoadedConfiguration,
  options: { readonly readFile: (path: string) => string; readonly reasonOf: (error: unknown) => string },
): Credentials {
  const problems: Problem[] = [];
  const readLines = (path: string, keyPath: readonly (string | number)[]): readonly string[] => {
    const source = sourceOf(loaded, keyPath);
    const full = source.kind === "file" && !isAbsolute(path) ? join(dirname(source.name), path) : path;
    const problem = (message: string) =>
      problems.push({ where: loaded.placeOf(keyPath), message: `${keyName(keyPath)}: ${message}` });
    let lines: readonly string[] = [];
    try {
      lines = options
        .readFile(full)
        .split(/\r?\n/)
        .filter((line) => line !== "");
      if (lines.length === 0) problem(`${full} is empty`);
    } catch (error) {
      problem(`${full} can't be read: ${options.reasonOf(error)}`);
    }
    return lines;
  };

  const { turn } = loaded.configuration;
  const users = turn.user.map((entry, index): StaticUser => {
    if (entry.key !== undefined) return { name: entry.name, key: new Secret(entry.key) };
    const fromFile = (path: string) => readLines(path, ["turn", "user", index, "password_file"])[0];
    const password = entry.password ?? (entry.password_file === undefined ? undefined : fromFile(entry.password_file));
    return { name: entry.name, password: new Secret(password ?? "") };
  });
  const file = turn.shared_secrets_file;
  const secrets = [
    ...turn.shared_secrets,
    ...(file === undefined ? [] : readLines(file, ["turn", "shared_secrets_file"])),
  ];
  if (problems.length > 0) throw new ConfigurationError(problems);
  return { users, sharedSecrets: secrets.map((secret) => new Secret(secret)) };
}

function sourceOf(loaded: LoadedConfiguration, path: readonly (string | number)[]): Source {
  const found = loaded.values.find(({ key }) => key.path.every((part, index) => part === path[index]));
  return found?.source ?? { kind: "default" };
}
