import {
  type CheckReport,
  checkReportsJson,
  checkServers,
  formatCheckReports,
  parsePeer,
  type ReferencedServer,
  referencedServer,
  type TlsClientOptions,
} from "@turnpike/client";
import { InvalidArgumentError, Option, type Command } from "commander";
import { CommandError } from "../errors.ts";
import { hintCommandError } from "../hint-errors.ts";
import { isReference } from "../wiring/reveal.ts";
import { usesColors, type World } from "../world.ts";
import { addClientFlags, credentialsOf, number, trustOf, untilStopped, type ClientFlags } from "./client-options.ts";

/** Gives `turnpike check` its flags and what it does. */
export function defineCheckCommand(check: Command, world: World): void {
  addClientFlags(check, { references: true })
    .option("--peer <ADDRESS:PORT>", "UDP peer that sends back what it gets (default: a second allocation)", peer)
    .addOption(new Option("--timeout <SECONDS>", "how long a step may take").argParser(seconds).default(15))
    .addHelpText("after", CHECK_HELP)
    .action(async (uris: readonly string[]) => {
      const flags = check.opts<ClientFlags & { readonly peer?: string; readonly timeout: number }>();
      const groups = serversOf(uris, trustOf(flags, world));
      const reports = await untilStopped(world, async (signal) => {
        const all: CheckReport[] = [];
        for (const { uris: some, tls } of groups) {
          const found = await checkServers(some, {
            ...credentialsOf(flags, world),
            tls,
            ...(flags.peer === undefined ? {} : { peer: flags.peer }),
            stepTimeoutMs: flags.timeout * 1000,
            signal,
            onStep: (uri, { step }) => {
              if (world.isErrTerminal) world.err(`\r\u001b[K${uri}: ${step}`);
            },
          });
          all.push(...found);
        }
        return all;
      });
      if (world.isErrTerminal) world.err("\r\u001b[K");
      const color = usesColors(world, world.isOutTerminal);
      world.out(flags.json === true ? checkReportsJson(reports) : formatCheckReports(reports, { color }));
      const failed = reports.filter(({ ok }) => !ok).length;
      if (failed > 0) {
        const of = reports.length === 1 ? "the transport" : `${failed} of ${reports.length} transports`;
        throw new CommandError(`${of} failed`, { exitCode: 1 });
      }
    });
}

const CHECK_HELP = `
Each transport of each URI: connection, Binding, challenge, Allocate,
CreatePermission, Send and Data, ChannelBind, data both ways with loss and round
trips, a TCP allocation (over TCP and TLS), Refresh, close. What is allocated is
closed again. Transports are udp, tcp, tls (turns:), dtls (turns: with
?transport=udp), and ws and wss (?transport=ws); without ?transport= turn: is
tried by udp and tcp, turns: by tls. A relay's reference (turnpike://…) is tried by
tls, with the key that it names.

Exit codes: 0 all passed, 1 something failed, 2 wrong use.

Examples:
  turnpike check turn:relay.example --username alice --credential-file secret
  turnpike check "turns:relay.example?transport=udp" --ca ca.pem --json
  turnpike check stun:stun.example`;

/** What is checked together: URIs, and each reference, which has a key of its own to insist on. */
function serversOf(given: readonly string[], trust: TlsClientOptions): readonly ReferencedServer[] {
  const uris = given.filter((text) => !isReference(text));
  try {
    const references = given.filter((text) => isReference(text)).map((text) => referencedServer(text));
    return uris.length === 0 ? references : [{ uris, tls: trust }, ...references];
  } catch (error) {
    throw hintCommandError(error);
  }
}

function seconds(text: string): number {
  const value = number(text);
  if (!(value > 0 && value <= LONGEST_STEP_SECONDS)) {
    throw new InvalidArgumentError(`Use a number above 0, up to ${LONGEST_STEP_SECONDS}.`);
  }
  return value;
}

const LONGEST_STEP_SECONDS = 3600;

function peer(text: string): string {
  try {
    parsePeer(text);
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : "");
  }
  return text;
}
