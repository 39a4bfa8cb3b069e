/** Ends the command with a message for people and an exit code: 1 failed, 2 wrong use or configuration. */
export class CommandError extends Error {
  override readonly name = "CommandError";
  readonly exitCode: 1 | 2;

  constructor(message: string, options: { readonly exitCode: 1 | 2; readonly cause?: unknown }) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.exitCode = options.exitCode;
  }
}

/** One thing that is wrong in a configuration. */
export interface Problem {
  /** `file:line:column`, a flag or an environment variable. */
  readonly where: string;
  readonly message: string;
}

/** The configuration can't be used: every problem that was found, in the order of the sources. */
export class ConfigurationError extends CommandError {
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    super(problems.map(({ where, message }) => `${where}: ${message}`).join("\n"), { exitCode: 2 });
    this.problems = problems;
  }
}
