import type { Command } from "commander";
import { concernsOf } from "../config/concerns.ts";
import { type Credentials, readCredentials } from "../config/credentials.ts";
import type { LoadedConfiguration } from "../config/load.ts";
import type { Problem } from "../errors.ts";
import { configurationOf, reasonOf } from "../options.ts";
import type { World } from "../world.ts";

/** A configuration with all that it names read. */
export interface ReadConfiguration {
  readonly loaded: LoadedConfiguration;
  readonly credentials: Credentials;
  /** What is allowed, but hardly meant. */
  readonly concerns: readonly Problem[];
}

/** Where a command's configuration comes from: its flags, the environment, and files that change. */
export interface ConfigurationSource {
  /**
   * Reads everything anew.
   *
   * @throws CommandError for what can't be used
   */
  read(): ReadConfiguration;
  /** The files of the last reading, also of one that failed, each with its state just before it was read. */
  readonly files: ReadonlyMap<string, string | undefined>;
}

/** What {@link createConfigurationSource} goes by. */
export interface ConfigurationSourceOptions {
  readonly world: World;
  /** Throws for what the command can't do. */
  readonly check?: (loaded: LoadedConfiguration) => void;
  /** False for a command that authenticates no TURN client: files that hold secrets may be on another machine. */
  readonly readsCredentials?: boolean;
}

const NO_CREDENTIALS: Credentials = { users: [], sharedSecrets: [], webhookToken: undefined, oauthKeys: [] };

/** The source of a command with configuration flags. */
export function createConfigurationSource(
  command: Command,
  { world, check, readsCredentials = true }: ConfigurationSourceOptions,
): ConfigurationSource {
  const files = new Map<string, string | undefined>();
  const noting: World = {
    ...world,
    readFile: (path) => {
      // Before it is read: what is written meanwhile must count as a change.
      files.set(path, world.fileState(path));
      return world.readFile(path);
    },
  };
  return {
    files,
    read() {
      const former = new Map(files);
      files.clear();
      try {
        const loaded = configurationOf(command, noting);
        check?.(loaded);
        const credentials = readsCredentials
          ? readCredentials(loaded, { readFile: noting.readFile, reasonOf })
          : NO_CREDENTIALS;
        return { loaded, credentials, concerns: concernsOf(loaded, credentials) };
      } catch (error) {
        // What was not reached this time may hold the mistake.
        for (const path of former.keys()) if (!files.has(path)) files.set(path, world.fileState(path));
        throw error;
      }
    },
  };
}
