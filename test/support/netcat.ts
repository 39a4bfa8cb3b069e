import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startChild, type Child } from "./child.ts";

/** `turnpike listen` or `turnpike connect` with a file of random bytes as its input and a file as its output. */
export interface Netcat {
  readonly child: Child;
  /** SHA-256 of what it was given. */
  readonly sentHash: string;
  /** SHA-256 of what it has written. */
  receivedHash(): string;
}

/** A directory in which such commands run. */
export class NetcatFolder {
  readonly path: string = mkdtempSync(join(tmpdir(), "turnpike-netcat-"));
  readonly #children: Child[] = [];
  #count = 0;

  /** Starts `turnpike COMMAND ARGS…` in the folder. */
  start(args: readonly string[], options: { readonly bytes?: number } = {}): Netcat {
    const name = join(this.path, String((this.#count += 1)));
    const bytes = randomBytes(options.bytes ?? 1_000_000);
    writeFileSync(`${name}.in`, bytes);
    const command = 'input=$1; output=$2; shift 2; exec turnpike "$@" <"$input" >"$output"';
    const child = startChild({
      command: "sh",
      args: ["-c", command, "sh", `${name}.in`, `${name}.out`, ...args],
      cwd: this.path,
      environment: { XDG_DATA_HOME: this.path },
    });
    this.#children.push(child);
    return { child, sentHash: hashOf(bytes), receivedHash: () => hashOf(readFileSync(`${name}.out`)) };
  }

  /** Starts `turnpike listen` and waits until it says what leads to it. */
  async listen(
    args: readonly string[],
    timeoutMs = 30_000,
  ): Promise<Netcat & { readonly hints: readonly string[]; readonly reference: string | undefined }> {
    const netcat = this.start(["listen", ...args]);
    await netcat.child.waitFor((it) => /^hint .*\n/mu.test(it.stderr()), timeoutMs);
    const lines = netcat.child.stderr().split("\n");
    const valuesOf = (label: string): string[] =>
      lines.filter((line) => line.startsWith(`${label} `)).map((line) => line.split(/\s+/u)[1] ?? "");
    return { ...netcat, hints: valuesOf("hint"), reference: valuesOf("reference")[0] };
  }

  async remove(): Promise<void> {
    await Promise.all(this.#children.map((child) => child.stop()));
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** SHA-256, in hexadecimal. */
export function hashOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
