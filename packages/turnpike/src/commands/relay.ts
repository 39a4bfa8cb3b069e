import type { Command } from "commander";
import { readCredentials } from "../config/credentials.ts";
import { addConfigurationFlags, configurationOf, ENVIRONMENT_HELP, isForRelay, reasonOf } from "../options.ts";
import { linkTargetOf } from "../wiring/portal.ts";
import { refuseToReveal } from "../wiring/reveal.ts";
import { runRelay } from "../wiring/run-relay.ts";
import type { World } from "../world.ts";

/** Adds `turnpike relay`. */
export function addRelayCommand(program: Command, world: World): void {
  const relay = program
    .command("relay")
    .description(
      "run the relay; with --portal it links first and waits for init; SIGTERM or SIGINT drains it, a second one stops it at once",
    )
    .addHelpText("after", ENVIRONMENT_HELP);
  addConfigurationFlags(relay, isForRelay).action(async () => {
    const loaded = configurationOf(relay, world);
    refuseToReveal(loaded.configuration, { relay: true });
    const credentials = readCredentials(loaded, { readFile: world.readFile, reasonOf });
    const { configuration } = loaded;
    await runRelay({ configuration, credentials, world, portal: linkTargetOf(configuration, world) });
  });
}
