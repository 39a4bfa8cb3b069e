import { Command, CommanderError } from "commander";
import { addBenchCommand } from "./commands/bench.ts";
import { addCheckCommand } from "./commands/check.ts";
import { addConfigCommand } from "./commands/config.ts";
import { addConnectCommand } from "./commands/connect.ts";
import { addCredentialsCommand } from "./commands/credentials.ts";
import { addCtlCommand } from "./commands/ctl.ts";
import { addListenCommand } from "./commands/listen.ts";
import { addPortalCommand } from "./commands/portal.ts";
import { addRelayCommand } from "./commands/relay.ts";
import { addServeCommand } from "./commands/serve.ts";
import { addXdpCommand } from "./commands/xdp.ts";
import { CommandError } from "./errors.ts";
import { usesColors, type World } from "./world.ts";

/** Runs the command. @returns the exit code: 0 fine, 1 failed, 2 wrong use or configuration. */
export async function run(args: readonly string[], world: World): Promise<0 | 1 | 2> {
  try {
    await createProgram(world).parseAsync([...args], { from: "user" });
    return 0;
  } catch (error) {
    // Commander has written its message, or the help that was asked for.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    if (error instanceof CommandError) {
      world.err(`${prefixed(error.message)}\n`);
      return error.exitCode;
    }
    world.err(`turnpike: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    return 1;
  }
}

/** The commands with their flags. */
export function createProgram(world: World): Command {
  const program = new Command("turnpike")
    .description("An authenticated TURN relay network")
    .version(world.version, "--version", "print the version")
    .helpOption("--help", "print this help")
    .showHelpAfterError("(--help shows what there is)")
    .exitOverride()
    .configureOutput({
      writeOut: world.out,
      writeErr: world.err,
      getOutHasColors: () => usesColors(world, world.isOutTerminal),
      getErrHasColors: () => usesColors(world, world.isErrTerminal),
      outputError: (message, write) => write(message.replace(/^error: /, "turnpike: ")),
    });
  addServeCommand(program, world);
  addRelayCommand(program, world);
  addPortalCommand(program, world);
  addCredentialsCommand(program, world);
  addCtlCommand(program, world);
  addXdpCommand(program, world);
  addCheckCommand(program, world);
  addBenchCommand(program, world);
  addConnectCommand(program, world);
  addListenCommand(program, world);
  addConfigCommand(program, world);
  return program;
}

function prefixed(message: string): string {
  return message.replaceAll(/^/gm, "turnpike: ");
}
