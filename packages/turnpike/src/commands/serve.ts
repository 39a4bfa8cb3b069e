import { OperationContext } from "@turnpike/authn/core";
import type { Portal } from "@turnpike/portal";
import type { Relay } from "@turnpike/relay";
import type { Command } from "commander";
import { readExternalAuth } from "../config/external-auth-files.ts";
import { readSignatureKeys } from "../config/signature-keys.ts";
import type { LoadedConfiguration } from "../config/load.ts";
import { CommandError } from "../errors.ts";
import { addConfigurationFlags, ENVIRONMENT_HELP, isForRelay, reasonOf } from "../options.ts";
import { createConfigurationSource } from "../wiring/configuration-source.ts";
import { urlsOf } from "../wiring/listening-urls.ts";
import { openPortal } from "../wiring/portal.ts";
import { refuseToReveal } from "../wiring/reveal.ts";
import { withTelemetry } from "../wiring/telemetry.ts";
import { loggerOf } from "../wiring/logger.ts";
import type { World } from "../world.ts";
import { firstStartText, SIGN_IN_OPTION, signInText } from "./portal.ts";

/** Gives `turnpike serve` its flags and what it does. */
export function defineServeCommand(serve: Command, world: World): void {
  serve.option(...SIGN_IN_OPTION).addHelpText("after", ENVIRONMENT_HELP);
  addConfigurationFlags(serve, isForRelay).action(async () => {
    const check = (loaded: LoadedConfiguration): void => checkForServe(loaded, world);
    const source = createConfigurationSource(serve, { world, check });
    const initial = source.read();
    const { configuration } = initial.loaded;
    const externalAuth = readExternalAuth(initial.loaded, { readFile: world.readFile, reasonOf });
    const signatureKeys = readSignatureKeys(initial.loaded, { readFile: world.readFile, reasonOf });
    const logger = loggerOf(configuration, world);
    // Neither help nor a mistake in the configuration has to wait for the relay's modules.
    const { runRelay } = await import("../wiring/run-relay.ts");
    await withTelemetry({ configuration, world, logger, serviceName: "turnpike" }, async (telemetry) => {
      const portal = await openPortal({ configuration, externalAuth, signatureKeys, telemetry, world, logger });
      const ctx = OperationContext.internal("serve", { logger });
      try {
        const { signInLink } = serve.opts<{ readonly signInLink?: string }>();
        const signIn = signInLink === undefined ? "" : await signInText(portal, { userId: signInLink, logger });
        const token = await portal.createRelayToken(ctx, "local", { replace: true });
        await runRelay({
          source,
          initial,
          world,
          logger,
          telemetry,
          // Of this very process: what it sends leaves the machine as little as what it thinks.
          portal: { url: ownUrl(portal), token, allowCleartext: true },
          onReady: async (relay, { reference }) =>
            world.out(
              await announcement({
                ctx,
                portal,
                relay,
                reference,
                signIn,
                hasCertificate: configuration.tls.cert !== undefined,
              }),
            ),
        });
      } finally {
        await portal.stop();
      }
    });
  });
}

function checkForServe({ configuration, placeOf }: LoadedConfiguration, world: World): void {
  refuseToReveal(configuration, { runs: "serve", environment: world.environment });
  if (configuration.authn.schemes_turn.includes("portal")) return;
  const where = placeOf(["authn", "schemes_turn"]);
  throw new CommandError(`${where}: authn.schemes_turn: must list "portal", as which serve mints`, { exitCode: 2 });
}

/** Where the first start says how to get in. */
const LATER_START = `The first start printed the administrator's token; --sign-in-link admin prints a new way in.
`;

/** The portal's URL from inside. */
function ownUrl({ address }: Portal): string {
  const isWildcard = address.address === "0.0.0.0" || address.address === "::";
  const host = isWildcard ? "localhost" : address.family === "IPv6" ? `[${address.address}]` : address.address;
  return `http://${host}:${address.port}`;
}

async function announcement(options: {
  readonly ctx: OperationContext;
  readonly portal: Portal;
  readonly relay: Relay;
  readonly reference: string | undefined;
  /** What `--sign-in-link` has to say, if it was given. */
  readonly signIn: string;
  readonly hasCertificate: boolean;
}): Promise<string> {
  const { ctx, portal, relay, reference, signIn, hasCertificate } = options;
  const urls = urlsOf(relay, { hasCertificate });
  const { iceServers } = await portal.mintFor(ctx, { user: "guest", urls });
  const token = portal.firstStart?.token ?? "tp_…";
  return [
    "The relay serves at",
    ...urls.map((url) => `  ${url}`),
    ...(reference === undefined ? [] : ["and is named by its key by the reference", `  ${reference}`]),
    "",
    "The portal serves at",
    `  ${portal.url}`,
    portal.firstStart === undefined && signIn === "" ? LATER_START : firstStartText(portal.firstStart),
    ...(signIn === "" ? [] : [signIn]),
    "Mint credentials:",
    `  curl -X POST -H 'Authorization: Bearer ${token}' -H 'Content-Type: application/json' -d '{}' ${portal.url}/v1/credentials`,
    "",
    "For new RTCPeerConnection(…); the credential works for a day, or until this process ends:",
    JSON.stringify({ iceServers }, null, 2),
    "",
  ].join("\n");
}
