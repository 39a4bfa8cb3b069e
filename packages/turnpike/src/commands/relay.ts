import type { Command } from "commander";
import { readCredentials } from "../config/credentials.ts";
import { addConfigurationFlags, configurationOf, ENVIRONMENT_HELP, isForRelay, reasonOf } from "../options.ts";
import { createPortalConnector, portalWayOf } from "../wiring/portal-way.ts";
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
    refuseToReveal(loaded.configuration, { runs: "relay", environment: world.environment });
    const credentials = readCredentials(loaded, { readFile: world.readFile, reasonOf });
    const { configuration } = loaded;
    const target = linkTargetOf(configuration, world);
    const way = target && portalWayOf(target.url);
    const dialled = way && createPortalConnector({ way, loaded, world });
    const portal = target && {
      ...target,
      ...way,
      ...(dialled && { connector: dialled.connector, times: dialled.times }),
    };
    try {
      await runRelay({ configuration, credentials, world, portal });
    } finally {
      await dialled?.close();
    }
  });
}
