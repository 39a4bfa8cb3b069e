import { OperationContext } from "@turnpike/authn";
import type { FirstStart } from "@turnpike/portal";
import type { Command } from "commander";
import { readExternalAuth } from "../config/external-auth-files.ts";
import { addConfigurationFlags, configurationOf, ENVIRONMENT_HELP, reasonOf } from "../options.ts";
import { openPortal, untilSignal } from "../wiring/portal.ts";
import { refuseToReveal } from "../wiring/reveal.ts";
import { withTelemetry } from "../wiring/telemetry.ts";
import { loggerOf } from "../wiring/run-relay.ts";
import type { World } from "../world.ts";

/** Adds `turnpike portal`. */
export function addPortalCommand(program: Command, world: World): void {
  const command = program
    .command("portal")
    .description("run the portal: users, tokens, minting and the fleet's relays; SIGTERM or SIGINT stops it")
    .option("--sign-in-link <USER>", "print a link that signs this user in once, and go on")
    .addHelpText("after", ENVIRONMENT_HELP);
  const isForPortal = ({ path: [table, key] }: { readonly path: readonly (string | number)[] }): boolean =>
    table === "portal" ||
    table === "log" ||
    table === "penalties" ||
    (table === "hints" && key === "reveal_ip_address") ||
    (table === "telemetry" && key !== "health") ||
    table === "external_auth" ||
    table === "external_auth_cache" ||
    (table === "authn" && key === "schemes_external") ||
    (table === "quota" && key === "user");
  addConfigurationFlags(command, isForPortal).action(async () => {
    const loaded = configurationOf(command, world);
    const { configuration } = loaded;
    refuseToReveal(configuration, { runs: "portal", environment: world.environment });
    const externalAuth = readExternalAuth(loaded, { readFile: world.readFile, reasonOf });
    const logger = loggerOf(configuration, world);
    const signalled = untilSignal(world);
    await withTelemetry({ configuration, world, logger, serviceName: "portal" }, async (telemetry) => {
      const portal = await openPortal({ configuration, externalAuth, telemetry, world, logger });
      try {
        const { signInLink } = command.opts<{ readonly signInLink?: string }>();
        world.out(`The portal serves at\n  ${portal.url}\n${firstStartText(portal.firstStart)}`);
        if (signInLink !== undefined) {
          const ctx = OperationContext.internal("sign-in-link", { logger });
          world.out(`Sign in once, within an hour:\n  ${await portal.createSignInUrl(ctx, signInLink)}\n`);
        }
        await signalled;
      } finally {
        await portal.stop();
      }
    });
  });
}

/** What is said once, at the first start. */
export function firstStartText(firstStart: FirstStart | undefined): string {
  if (firstStart === undefined) return "";
  return [
    "",
    "The administrator's access token, shown this once:",
    `  ${firstStart.token}`,
    "Sign in once, within an hour:",
    `  ${firstStart.signInUrl}`,
    "",
  ].join("\n");
}
