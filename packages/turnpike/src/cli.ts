import { Command, CommanderError, Help } from "commander";
import { COMMANDS } from "./commands.ts";
import { CommandError } from "./errors.ts";
import { usesColors, type World } from "./world.ts";

/** Runs the command. @returns the exit code: 0 fine, 1 failed, 2 wrong use or configuration. */
export async function run(args: readonly string[], world: World): Promise<0 | 1 | 2> {
  try {
    await createProgram(world).parseAsync(spelledOut(args), { from: "user" });
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

/** The commands; each gets its flags when it is run. For `parseAsync` alone. */
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
  program.addHelpText("after", FIRST_STEPS);
  const parts = new Map(
    COMMANDS.map((entry) => [program.command(entry.name).description(entry.description), entry] as const),
  );
  // Whoever asks for one command waits for the modules of no other.
  program.hook("preSubcommand", async (_, command) => {
    const entry = parts.get(command);
    if (entry !== undefined) (await entry.load())(command, world);
  });
  // Set after the commands are made, which would take it over for theirs.
  const help = new Help();
  return program.configureHelp({
    subcommandTerm(command) {
      const entry = parts.get(command);
      return entry === undefined ? help.subcommandTerm(command) : `${entry.name} ${entry.takes}`.trimEnd();
    },
  });
}

const FIRST_STEPS = `
First steps:
  turnpike serve                                  relay and portal here, with working credentials printed
  turnpike relay --shared-secret-file FILE        a relay alone; its users' credentials are minted by the secret
  turnpike credentials mint --shared-secret-file FILE --url turn:HOST
  turnpike check turn:HOST --username NAME --credential-file FILE
  turnpike config import-coturn turnserver.conf   move from coturn

Exit codes: 0 fine, 1 failed, 2 wrong use or configuration. Each command has --help.`;

/** `help relay` as `relay --help`: the flags of a command are there once it is run. */
function spelledOut([first, second, ...others]: readonly string[]): string[] {
  const isKnown = first === "help" && COMMANDS.some(({ name }) => name === second);
  return isKnown && second !== undefined
    ? [second, "--help"]
    : [first, second, ...others].filter((word) => word !== undefined);
}

function prefixed(message: string): string {
  return message.replaceAll(/^/gm, "turnpike: ");
}
