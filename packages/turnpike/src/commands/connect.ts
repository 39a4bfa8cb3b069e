import {
  connectReference,
  netcat,
  parseReference,
  renderStatuses,
  type Connection,
  type Connector,
  type HintStatus,
} from "@turnpike/hints";
import { Option, type Command } from "commander";
import type { ConfigurationKey } from "../config/setting.ts";
import { CommandError } from "../errors.ts";
import { addConfigurationFlags, configurationOf, ENVIRONMENT_HELP } from "../options.ts";
import { createConnector } from "../wiring/connector.ts";
import { isReference, refuseToReveal } from "../wiring/reveal.ts";
import { usesColors, type World } from "../world.ts";
import { number, untilStopped } from "./client-options.ts";
import { hintCommandError } from "../hint-errors.ts";
import { StatusView } from "./status-view.ts";

const HINTS_HELP = `
Hints: tcp:HOST:PORT, tls:HOST:PORT, ws:HOST:PORT/PATH, wss:HOST:PORT/PATH, unix:/PATH, tor:HOST:PORT,
turn:HOST:PORT (through the relay of --turn-relay). A reference is turnpike://KEY@HINT,HINT/REALM.
All of them race; the first peer that proves its identity is connected to standard input and output. docs/hints.md`;

/** Keys of `[hints]` that only matter to who listens. */
const LISTENING = ["listen", "advertise"];

interface ConnectFlags {
  readonly status?: true;
  readonly linger: number;
}

/** Gives `turnpike connect` its flags and what it does. */
export function defineConnectCommand(connect: Command, world: World): void {
  connect
    .argument("<HINT...>", "where to: connection hints, or a reference and perhaps more hints for it")
    .option("--status", "show each hint's state and the winner on standard error")
    .addOption(
      new Option("--linger <SECONDS>", "where one direction can't end alone (Tor, relays): silence after which to end")
        .argParser(number)
        .default(5),
    )
    .addHelpText("after", HINTS_HELP)
    .addHelpText("after", ENVIRONMENT_HELP);
  addConfigurationFlags(connect, isForConnecting).action(async (targets: readonly string[]) => {
    const loaded = configurationOf(connect, world);
    const flags = connect.opts<ConnectFlags>();
    try {
      refuseToReveal(loaded.configuration, { connectTo: targets });
      const connector = createConnector({ loaded, world, unixSockets: !targets.some((text) => isReference(text)) });
      try {
        await untilStopped(world, (signal) => run({ connector, targets, flags, world, signal }));
      } finally {
        await connector.close();
      }
    } catch (error) {
      throw hintCommandError(error);
    }
  });
}

function isForConnecting({ path }: ConfigurationKey): boolean {
  return path[0] === "hints" && !LISTENING.includes(String(path[1]));
}

interface Running {
  readonly connector: Connector;
  readonly targets: readonly string[];
  readonly flags: ConnectFlags;
  readonly world: World;
  readonly signal: AbortSignal;
}

async function run({ connector, targets, flags, world, signal }: Running): Promise<void> {
  const view = flags.status === true ? new StatusView(world) : undefined;
  const render = (statuses: readonly HintStatus[]): string =>
    renderStatuses(statuses, { color: usesColors(world, world.isErrTerminal) });
  let connection: Connection;
  let last = "";
  try {
    connection = await open(connector, targets, {
      signal,
      onStatus: (statuses) => {
        last = render(statuses);
        view?.update(last);
      },
    });
    last = render(connection.statuses);
  } finally {
    view?.finish(last);
  }
  const { stream, halfClose } = connection;
  const { input, output } = world.streams();
  await netcat(stream, { input, output, halfClose, lingerMilliseconds: flags.linger * 1000, signal });
}

function open(
  connector: Connector,
  targets: readonly string[],
  options: { readonly signal: AbortSignal; readonly onStatus: (statuses: readonly HintStatus[]) => void },
): Promise<Connection> {
  const references = targets.filter((text) => isReference(text));
  const [text] = references;
  if (text === undefined) return connector.connect({ ...options, hints: targets });
  if (references.length > 1) {
    throw new CommandError("one reference names one peer: give a single one, and further hints for it", {
      exitCode: 2,
    });
  }
  const reference = parseReference(text);
  const more = targets.filter((target) => target !== text);
  return connectReference(connector, { ...reference, hints: [...more, ...reference.hints] }, options);
}
