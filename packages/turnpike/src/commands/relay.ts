import type { Command } from "commander";
import type { LoadedConfiguration } from "../config/load.ts";
import { addConfigurationFlags, ENVIRONMENT_HELP, isForRelay } from "../options.ts";
import { createConfigurationSource } from "../wiring/configuration-source.ts";
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
      "run the relay; with --portal it links first and waits for init; SIGTERM or SIGINT drains it, a second one stops it at once; SIGHUP reloads its configuration",
    )
    .addHelpText("after", ENVIRONMENT_HELP);
  addConfigurationFlags(relay, isForRelay).action(async () => {
    const check = ({ configuration }: LoadedConfiguration): void =>
      refuseToReveal(configuration, { runs: "relay", environment: world.environment });
    const source = createConfigurationSource(relay, { world, check });
    const initial = source.read();
    const { loaded } = initial;
    const target = linkTargetOf(loaded.configuration, world);
    const way = target && portalWayOf(target.url);
    const dialled = way && createPortalConnector({ way, loaded, world });
    const portal = target && {
      ...target,
      ...way,
      ...(dialled && { connector: dialled.connector, times: dialled.times }),
    };
    try {
      await runRelay({ source, initial, world, portal });
    } finally {
      await dialled?.close();
    }
  });
}
