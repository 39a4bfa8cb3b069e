import { OperationContext } from "@turnpike/authn";
import type { Portal } from "@turnpike/portal";
import type { Relay } from "@turnpike/relay";
import type { Command } from "commander";
import { readCredentials } from "../config/credentials.ts";
import { readExternalAuth } from "../config/external-auth-files.ts";
import { CommandError } from "../errors.ts";
import { addConfigurationFlags, configurationOf, ENVIRONMENT_HELP, isForRelay, reasonOf } from "../options.ts";
import { urlsOf } from "../wiring/link.ts";
import { openPortal } from "../wiring/portal.ts";
import { refuseToReveal } from "../wiring/reveal.ts";
import { withTelemetry } from "../wiring/telemetry.ts";
import { loggerOf, runRelay } from "../wiring/run-relay.ts";
import type { World } from "../world.ts";
import { firstStartText } from "./portal.ts";

/** Adds `turnpike serve`. */
export function addServeCommand(program: Command, world: World): void {
  const serve = program
    .command("serve")
    .description("run relay and portal in one process, and print their URLs and the iceServers for a WebRTC page")
    .addHelpText("after", ENVIRONMENT_HELP);
  addConfigurationFlags(serve, isForRelay).action(async () => {
    const loaded = configurationOf(serve, world);
    const { configuration } = loaded;
    refuseToReveal(configuration, { runs: "serve", environment: world.environment });
    const credentials = readCredentials(loaded, { readFile: world.readFile, reasonOf });
    if (!configuration.authn.schemes_turn.includes("portal")) {
      const where = loaded.placeOf(["authn", "schemes_turn"]);
      throw new CommandError(`${where}: authn.schemes_turn: must list "portal", as which serve mints`, { exitCode: 2 });
    }
    const externalAuth = readExternalAuth(loaded, { readFile: world.readFile, reasonOf });
    const logger = loggerOf(configuration, world);
    await withTelemetry({ configuration, world, logger, serviceName: "turnpike" }, async (telemetry) => {
      const portal = await openPortal({ configuration, externalAuth, telemetry, world, logger });
      const ctx = OperationContext.internal("serve", { logger });
      try {
        const token = await portal.createRelayToken(ctx, "local", { replace: true });
        await runRelay({
          configuration,
          credentials,
          world,
          logger,
          telemetry,
          // Of this very process: what it sends leaves the machine as little as what it thinks.
          portal: { url: ownUrl(portal), token, allowCleartext: true },
          onReady: async (relay) => world.out(await announcement(ctx, portal, relay)),
        });
      } finally {
        await portal.stop();
      }
    });
  });
}

/** The portal's URL from inside. */
function ownUrl({ address }: Portal): string {
  const isWildcard = address.address === "0.0.0.0" || address.address === "::";
  const host = isWildcard ? "localhost" : address.family === "IPv6" ? `[${address.address}]` : address.address;
  return `http://${host}:${address.port}`;
}

async function announcement(ctx: OperationContext, portal: Portal, relay: Relay): Promise<string> {
  const urls = urlsOf(relay);
  const { iceServers } = await portal.mintFor(ctx, { user: "guest", urls });
  const token = portal.firstStart?.token ?? "tp_…";
  return [
    "The relay serves at",
    ...urls.map((url) => `  ${url}`),
    "",
    "The portal serves at",
    `  ${portal.url}`,
    firstStartText(portal.firstStart),
    "Mint credentials:",
    `  curl -X POST -H 'Authorization: Bearer ${token}' -H 'Content-Type: application/json' -d '{}' ${portal.url}/v1/credentials`,
    "",
    "For new RTCPeerConnection(…); the credential works for a day, or until this process ends:",
    JSON.stringify({ iceServers }, null, 2),
    "",
  ].join("\n");
}
