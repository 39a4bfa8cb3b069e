import type { Command } from "commander";
import { readCredentials } from "../config/credentials.ts";
import { readExternalAuth } from "../config/external-auth-files.ts";
import { loadConfiguration } from "../config/load.ts";
import { formatEffective } from "../config/print.ts";
import {
  addConfigurationFlags,
  configurationOf,
  DEFAULT_FILE,
  ENVIRONMENT_HELP,
  readFile,
  reasonOf,
} from "../options.ts";
import type { World } from "../world.ts";

/** Adds `turnpike config check|print`. */
export function addConfigCommand(program: Command, world: World): void {
  const config = program.command("config").description("check or print the configuration");

  config
    .command("check")
    .description("check a configuration file; every problem is named with file, line and column")
    .argument("[FILE]", "the file to check", DEFAULT_FILE)
    .action((name: string) => {
      const loaded = loadConfiguration({ file: readFile(name, world), environment: {}, flags: new Map() });
      readCredentials(loaded, { readFile: world.readFile, reasonOf });
      readExternalAuth(loaded, { readFile: world.readFile, reasonOf });
      world.out(`${name}: no problems found\n`);
    });

  const print = config
    .command("print")
    .description("print the configuration in force and where each value comes from; secrets are masked")
    .addHelpText("after", ENVIRONMENT_HELP);
  addConfigurationFlags(print).action(() => {
    const loaded = configurationOf(print, world);
    readCredentials(loaded, { readFile: world.readFile, reasonOf });
    readExternalAuth(loaded, { readFile: world.readFile, reasonOf });
    world.out(`${formatEffective(loaded)}\n`);
  });
}
