import { checkReportsJson, checkServers, formatCheckReports, parsePeer } from "@turnpike/client";
import { InvalidArgumentError, type Command } from "commander";
import { CommandError } from "../errors.ts";
import { usesColors, type World } from "../world.ts";
import { addClientFlags, credentialsOf, trustOf, untilStopped, type ClientFlags } from "./client-options.ts";

/** Adds `turnpike check`. */
export function addCheckCommand(program: Command, world: World): void {
  const check = program
    .command("check")
    .description(
      "try STUN and TURN servers the way a client does, transport by transport; exit code 0 only if all pass",
    );
  addClientFlags(check)
    .option("--peer <ADDRESS:PORT>", "UDP peer that sends back what it gets (default: a second allocation)", peer)
    .action(async (uris: readonly string[]) => {
      const flags = check.opts<ClientFlags & { readonly peer?: string }>();
      const reports = await untilStopped(world, (signal) =>
        checkServers(uris, {
          ...credentialsOf(flags, world),
          tls: trustOf(flags, world),
          ...(flags.peer === undefined ? {} : { peer: flags.peer }),
          signal,
          onStep: (uri, { step }) => {
            if (world.isErrTerminal) world.err(`\r\u001b[K${uri}: ${step}`);
          },
        }),
      );
      if (world.isErrTerminal) world.err("\r\u001b[K");
      const color = usesColors(world, world.isOutTerminal);
      world.out(flags.json === true ? checkReportsJson(reports) : formatCheckReports(reports, { color }));
      const failed = reports.filter(({ ok }) => !ok).length;
      if (failed > 0) {
        throw new CommandError(`${failed} of ${reports.length} transports failed`, { exitCode: 1 });
      }
    });
}

function peer(text: string): string {
  try {
    parsePeer(text);
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : "");
  }
  return text;
}
