import { OperationContext } from "@turnpike/authn/core";
import type { FirstStart, Portal } from "@turnpike/portal";
import type { Command } from "commander";
import { readExternalAuth } from "../config/external-auth-files.ts";
import { readSignatureKeys } from "../config/signature-keys.ts";
import type { LoadedConfiguration } from "../config/load.ts";
import { CommandError } from "../errors.ts";
import type { Logger } from "../log.ts";
import { addConfigurationFlags, ENVIRONMENT_HELP, reasonOf } from "../options.ts";
import { createConfigurationSource } from "../wiring/configuration-source.ts";
import { openPortal, untilSignal } from "../wiring/portal.ts";
import { createReloader } from "../wiring/reload.ts";
import { refuseToReveal } from "../wiring/reveal.ts";
import { withTelemetry } from "../wiring/telemetry.ts";
import { loggerOf } from "../wiring/logger.ts";
import { connectServiceManager } from "../wiring/service-manager.ts";
import type { World } from "../world.ts";

/** Gives `turnpike portal` its flags and what it does. */
export function definePortalCommand(command: Command, world: World): void {
  command.option(...SIGN_IN_OPTION).addHelpText("after", ENVIRONMENT_HELP);
  const isForPortal = ({ path: [table, key] }: { readonly path: readonly (string | number)[] }): boolean =>
    (table === "portal" && !OF_RELAYS.includes(String(key))) ||
    (table === "log" && key !== "events") ||
    table === "penalties" ||
    (table === "hints" && key === "reveal_ip_address") ||
    (table === "telemetry" && key !== "health") ||
    table === "external_auth" ||
    table === "external_auth_cache" ||
    (table === "authn" && key !== "schemes_turn") ||
    (table === "quota" && key === "user");
  addConfigurationFlags(command, isForPortal).action(async () => {
    const check = ({ configuration }: LoadedConfiguration): void =>
      refuseToReveal(configuration, { runs: "portal", environment: world.environment });
    const source = createConfigurationSource(command, { world, check, readsCredentials: false });
    const initial = source.read();
    const { configuration } = initial.loaded;
    const externalAuth = readExternalAuth(initial.loaded, { readFile: world.readFile, reasonOf });
    const signatureKeys = readSignatureKeys(initial.loaded, { readFile: world.readFile, reasonOf });
    const logger = loggerOf(configuration, world);
    const service = connectServiceManager({ world, logger });
    const reloader = createReloader({
      source,
      initial,
      concerned: isForPortal,
      live: ["log.level"],
      world,
      logger,
      service,
    });
    const signalled = untilSignal(world);
    try {
      await withTelemetry({ configuration, world, logger, serviceName: "portal" }, async (telemetry) => {
        const portal = await openPortal({ configuration, externalAuth, signatureKeys, telemetry, world, logger });
        try {
          const { signInLink } = command.opts<{ readonly signInLink?: string }>();
          world.out(`The portal serves at\n  ${portal.url}\n${firstStartText(portal.firstStart)}`);
          if (signInLink !== undefined) world.out(await signInText(portal, { userId: signInLink, logger }));
          service.ready();
          reloader.begin(({ loaded }) => {
            logger.level = loaded.configuration.log.level;
            return [];
          });
          await signalled;
          service.stopping(0);
        } finally {
          await portal.stop();
        }
      });
    } finally {
      reloader.close();
      service.close();
    }
  });
}

/** Keys of `[portal]` that say how a relay links to one. */
const OF_RELAYS: readonly string[] = ["url", "token", "token_file", "name"];

/** The flag of those who run a portal, for whoever lost the way in. */
export const SIGN_IN_OPTION: readonly [flags: string, description: string] = [
  "--sign-in-link <USER>",
  "print a link that signs this user in once, and go on",
];

/** A new link for that user. @throws CommandError if nobody may sign in by that name */
export async function signInText(
  portal: Portal,
  { userId, logger }: { readonly userId: string; readonly logger: Logger },
): Promise<string> {
  try {
    const url = await portal.createSignInUrl(OperationContext.internal("sign-in-link", { logger }), userId);
    return `Sign in once, within an hour:\n  ${url}\n`;
  } catch (error) {
    // Loaded already by whoever has a portal.
    const { NotFoundError } = await import("@turnpike/portal");
    if (!(error instanceof NotFoundError)) throw error;
    throw new CommandError(`--sign-in-link: ${error.message}`, { exitCode: 2, cause: error });
  }
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
