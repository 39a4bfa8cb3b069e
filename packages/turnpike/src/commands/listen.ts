import { join } from "node:path";
import type { Duplex } from "node:stream";
import {
  createPortStore,
  Listener,
  loadIdentity,
  netcat,
  type Connector,
  type Incoming,
  type Readiness,
} from "@turnpike/hints";
import { Option, type Command } from "commander";
import type { LoadedConfiguration } from "../config/load.ts";
import type { ConfigurationKey } from "../config/setting.ts";
import { CommandError } from "../errors.ts";
import { addConfigurationFlags, configurationOf, ENVIRONMENT_HELP } from "../options.ts";
import { createConnector } from "../wiring/connector.ts";
import { defaultDirectory } from "../wiring/relay-identity.ts";
import { refuseToReveal } from "../wiring/reveal.ts";
import type { World } from "../world.ts";
import { number, untilStopped } from "./client-options.ts";
import { hintCommandError } from "../hint-errors.ts";

const SPECS_HELP = `
Specs: tcp:PORT, tcp:ADDRESS:PORT (port 0 finds one and keeps it), ws:ADDRESS:PORT/PATH, unix:/PATH, onion:PORT (needs
--tor-control or --tor-launch); with --reference also tls:ADDRESS:PORT and wss:ADDRESS:PORT/PATH. docs/hints.md`;

/** Keys that matter to who listens. */
const KEYS = ["hints.advertise", "hints.reveal_ip_address", "portal.data_dir", "relay.realm"];

interface ListenFlags {
  readonly reference?: true;
  readonly status?: true;
  readonly halfClose: boolean;
  readonly linger: number;
}

/** Gives `turnpike listen` its flags and what it does. */
export function defineListenCommand(listen: Command, world: World): void {
  listen
    .argument("[SPEC...]", "where to listen (default: hints.listen)")
    .option("--reference", "prove an identity, kept in the data directory, and print the reference that names it")
    .option("--status", "show how listeners that take their time come up, such as onion:")
    .option(
      "--no-half-close",
      "don't end one direction alone: for peers behind a relay or Tor exit, which would end both",
    )
    .addOption(
      new Option("--linger <SECONDS>", "where one direction can't end alone: silence after which to end")
        .argParser(number)
        .default(5),
    )
    .addHelpText("after", SPECS_HELP)
    .addHelpText("after", ENVIRONMENT_HELP);
  addConfigurationFlags(listen, isForListening).action(async (given: readonly string[]) => {
    const loaded = configurationOf(listen, world);
    const specs = given.length > 0 ? given : loaded.configuration.hints.listen;
    if (specs.length === 0) {
      throw new CommandError("nothing to listen on: give a SPEC such as tcp:0, or set hints.listen", { exitCode: 2 });
    }
    const flags = listen.opts<ListenFlags>();
    try {
      refuseToReveal(loaded.configuration, { listen: specs });
      const connector = createConnector({ loaded, world, unixSockets: true, onlyTor: true });
      try {
        await untilStopped(world, (signal) => run({ connector, specs, flags, loaded, world, signal }));
      } finally {
        await connector.close();
      }
    } catch (error) {
      throw hintCommandError(error);
    }
  });
}

function isForListening({ path }: ConfigurationKey): boolean {
  return KEYS.includes(path.join(".")) || (path[0] === "hints" && path[1] === "tor");
}

interface Running {
  readonly connector: Connector;
  readonly specs: readonly string[];
  readonly flags: ListenFlags;
  readonly loaded: LoadedConfiguration;
  readonly world: World;
  readonly signal: AbortSignal;
}

async function run({ connector, specs, flags, loaded, world, signal }: Running): Promise<void> {
  const { hints, relay, portal } = loaded.configuration;
  const directory = portal.data_dir ?? defaultDirectory(world);
  const identity = flags.reference === true ? await loadIdentity({ file: join(directory, "identity.pem") }) : undefined;
  const listener = new Listener({
    gate: connector.gate,
    tor: connector.tor,
    directory,
    ports: createPortStore({ file: join(directory, "ports.json") }),
    ...(identity === undefined ? {} : { identity }),
  });
  const first = Promise.withResolvers<{ readonly stream: Duplex; readonly incoming: Incoming }>();
  let isTaken = false;
  const group = listener.listen({
    specs,
    advertise: hints.advertise,
    realm: relay.realm,
    signal,
    onStream: (stream, incoming) => {
      // There is one standard input: whoever comes second finds nobody.
      if (isTaken) {
        stream.destroy();
        return;
      }
      isTaken = true;
      first.resolve({ stream, incoming });
    },
    onStatus: (spec, detail) => {
      if (flags.status === true) world.err(`${spec}: ${detail}\n`);
    },
  });
  const stopped = (): void => first.reject(signal.reason);
  signal.addEventListener("abort", stopped, { once: true });
  first.promise.catch(() => undefined);
  try {
    const readiness = await group.ready;
    world.err(announcement(readiness));
    const { stream, incoming } = await first.promise;
    if (flags.status === true) world.err(`${incoming.spec}: a peer is connected\n`);
    const { input, output } = world.streams();
    const halfClose = flags.halfClose && incoming.halfClose;
    await netcat(stream, { input, output, halfClose, lingerMilliseconds: flags.linger * 1000, signal });
  } finally {
    signal.removeEventListener("abort", stopped);
    await group.close();
  }
}

/** What to give to the other end: standard output is the stream's. */
function announcement({ advertised, reference, listeners }: Readiness): string {
  const lines = [
    ...listeners.map(({ spec, bound }) => `listening  ${spec} (${bound})`),
    ...advertised.map(({ hint, reachability }) => `hint       ${hint} (${reachability})`),
    ...(reference === undefined ? [] : [`reference  ${reference}`]),
  ];
  return `${lines.join("\n")}\n`;
}
