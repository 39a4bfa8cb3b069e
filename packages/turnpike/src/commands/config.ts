import type { Command } from "commander";
import { concernsOf } from "../config/concerns.ts";
import { readCredentials } from "../config/credentials.ts";
import { readExternalAuth } from "../config/external-auth-files.ts";
import { readSignatureKeys } from "../config/signature-keys.ts";
import { CONFIG_VARIABLE, loadConfiguration } from "../config/load.ts";
import { formatEffective } from "../config/print.ts";
import { importCoturn } from "../coturn/import-coturn.ts";
import { CommandError, type Problem } from "../errors.ts";
import {
  addConfigurationFlags,
  configurationOf,
  DEFAULT_FILE,
  ENVIRONMENT_HELP,
  readFile,
  reasonOf,
} from "../options.ts";
import type { World } from "../world.ts";

/** Gives `turnpike config check|print|import-coturn` its flags and what it does. */
export function defineConfigCommand(config: Command, world: World): void {
  config
    .command("check")
    .description("check a configuration file; every problem is named with file, line and column")
    .argument("[FILE]", `the file to check (default: ${DEFAULT_FILE})`)
    .option("--config <FILE>", "the same, as other commands have it")
    .action((argument: string | undefined, { config: flag }: { readonly config?: string }) => {
      if (argument !== undefined && flag !== undefined) {
        throw new CommandError("config check: name one file, as argument or by --config", { exitCode: 2 });
      }
      const name = argument ?? flag ?? (world.environment[CONFIG_VARIABLE] || DEFAULT_FILE);
      const loaded = loadConfiguration({ file: readFile(name, world), environment: {}, flags: new Map() });
      const credentials = readCredentials(loaded, { readFile: world.readFile, reasonOf });
      readExternalAuth(loaded, { readFile: world.readFile, reasonOf });
      readSignatureKeys(loaded, { readFile: world.readFile, reasonOf });
      warn(concernsOf(loaded, credentials), world);
      world.out(`${name}: no problems found\n`);
    });

  const print = config
    .command("print")
    .description("print the configuration in force and where each value comes from; secrets are masked")
    .addHelpText("after", ENVIRONMENT_HELP);
  addConfigurationFlags(print).action(() => {
    const loaded = configurationOf(print, world);
    const credentials = readCredentials(loaded, { readFile: world.readFile, reasonOf });
    readExternalAuth(loaded, { readFile: world.readFile, reasonOf });
    readSignatureKeys(loaded, { readFile: world.readFile, reasonOf });
    warn(concernsOf(loaded, credentials), world);
    world.out(`${formatEffective(loaded)}\n`);
  });

  config
    .command("import-coturn")
    .description(
      "translate a turnserver.conf of coturn to TOML, secrets included; what can't be kept is named with its line",
    )
    .argument("<FILE>", "the turnserver.conf")
    .option("--output <FILE>", "write the TOML to a new file, readable by you alone (default: standard output)")
    .addHelpText("after", IMPORT_HELP)
    .action((name: string, { output }: { readonly output?: string }) => {
      const { toml, remarks } = importCoturn(readFile(name, world));
      for (const { level, line, message } of remarks) {
        world.err(`${name}${line === 0 ? "" : `:${line}`}: ${level}: ${message}\n`);
      }
      if (output === undefined) world.out(toml);
      else writeNew(output, toml, world);
    });
}

const IMPORT_HELP = `
Then: turnpike config check FILE, and start it by turnpike relay --config FILE.
A warning names something that was in force with coturn and isn't here; a note names what needs nothing.`;

function writeNew(name: string, text: string, world: World): void {
  try {
    world.writeNewFile(name, text);
  } catch (error) {
    const isThere = error instanceof Error && "code" in error && error.code === "EEXIST";
    const reason = isThere ? "it is there already; move it away, or choose another name" : reasonOf(error);
    throw new CommandError(`${name}: can't be written: ${reason}`, { exitCode: isThere ? 2 : 1, cause: error });
  }
}

function warn(concerns: readonly Problem[], world: World): void {
  for (const { where, message } of concerns) world.err(`turnpike: ${where}: warning: ${message}\n`);
}
