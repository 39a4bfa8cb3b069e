import { Secret } from "@turnpike/authn";
import { toIceServers } from "@turnpike/credentials";
import type { Relay } from "@turnpike/relay";
import { formatTransportAddress } from "@turnpike/stun";
import type { Command } from "commander";
import { readCredentials, type StaticUser } from "../config/credentials.ts";
import { CommandError } from "../errors.ts";
import { addConfigurationFlags, configurationOf, ENVIRONMENT_HELP, reasonOf } from "../options.ts";
import { runRelay } from "../wiring/run-relay.ts";
import type { World } from "../world.ts";

/** 144 bits, in letters that need no quoting anywhere. */
const PASSWORD_BYTES = 18;

/** Adds `turnpike serve`. */
export function addServeCommand(program: Command, world: World): void {
  const serve = program
    .command("serve")
    .description("run the relay with a generated user, and print its URLs and the iceServers for a WebRTC page")
    .addHelpText("after", ENVIRONMENT_HELP);
  addConfigurationFlags(serve).action(async () => {
    const loaded = configurationOf(serve, world);
    const configured = readCredentials(loaded, { readFile: world.readFile, reasonOf });
    if (!loaded.configuration.authn.schemes_turn.includes("static")) {
      const where = loaded.placeOf(["authn", "schemes_turn"]);
      throw new CommandError(`${where}: authn.schemes_turn: must list "static", as which serve makes its user`, {
        exitCode: 2,
      });
    }
    const guest = generateUser(world);
    await runRelay({
      configuration: loaded.configuration,
      credentials: { ...configured, users: [...configured.users, guest] },
      world,
      onReady: (relay) => world.out(announcement(relay, guest)),
    });
  });
}

/** A user who lasts as long as the process, beside those of the configuration. */
function generateUser(world: World): StaticUser & { readonly password: Secret } {
  const text = (length: number): string => Buffer.from(world.random(length)).toString("base64url");
  return { name: `guest-${text(6)}`, password: new Secret(text(PASSWORD_BYTES)) };
}

function announcement(relay: Relay, guest: StaticUser & { readonly password: Secret }): string {
  const urls = relay.listening.map(
    ({ transport, local }) => `turn:${formatTransportAddress(local)}?transport=${transport}`,
  );
  const iceServers = toIceServers({ urls, credential: { username: guest.name, credential: guest.password.reveal() } });
  return [
    "The relay serves at",
    ...urls.map((url) => `  ${url}`),
    "",
    "For new RTCPeerConnection(…); the credential works until this process ends:",
    JSON.stringify({ iceServers }, null, 2),
    "",
  ].join("\n");
}
