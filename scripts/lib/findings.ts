/** Something that a check found, with its place. */
export interface Finding {
  /** `file:line`, or a file. */
  readonly where: string;
  readonly message: string;
}

/** Prints what was found and sets the exit code; says what was checked if nothing was. */
export function report(findings: readonly Finding[], checked: string): void {
  for (const { where, message } of findings) console.error(`${where}: ${message}`);
  if (findings.length === 0) {
    console.log(checked);
  } else {
    console.error(`${findings.length} problem${findings.length === 1 ? "" : "s"} found`);
    process.exitCode = 1;
  }
}
