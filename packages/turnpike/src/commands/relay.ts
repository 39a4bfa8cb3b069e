import type { Command } from "commander";
import type { LoadedConfiguration } from "../config/load.ts";
import { addConfigurationFlags, ENVIRONMENT_HELP, isForRelay } from "../options.ts";
import { createConfigurationSource } from "../wiring/configuration-source.ts";
import { linkTargetOf } from "../wiring/link-target.ts";
import { portalWayOf } from "../wiring/portal-way.ts";
import { refuseToReveal } from "../wiring/reveal.ts";
import type { World } from "../world.ts";

/** Gives `turnpike relay` its flags and what it does. */
export function defineRelayCommand(relay: Command, world: World): void {
  relay.addHelpText("after", ENVIRONMENT_HELP);
  addConfigurationFlags(relay, isForRelay).action(async () => {
    const check = ({ configuration }: LoadedConfiguration): void =>
      refuseToReveal(configuration, { runs: "relay", environment: world.environment });
    const source = createConfigurationSource(relay, { world, check });
    const initial = source.read();
    const { loaded } = initial;
    const target = linkTargetOf(loaded.configuration, world);
    const way = target && portalWayOf(target.url);
    // Hints and their connector are loaded only if there is a portal to reach by them.
    const dialled =
      way && (await import("../wiring/portal-connector.ts")).createPortalConnector({ way, loaded, world });
    const portal = target && {
      ...target,
      ...way,
      ...(dialled && { connector: dialled.connector, times: dialled.times }),
    };
    // Neither help nor a mistake in the configuration has to wait for the relay's modules.
    const { runRelay } = await import("../wiring/run-relay.ts");
    try {
      await runRelay({ source, initial, world, portal });
    } finally {
      await dialled?.close();
    }
  });
}
