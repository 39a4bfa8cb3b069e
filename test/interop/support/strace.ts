import { spawn } from "node:child_process";
import { mkdtemp, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Child, startChild } from "../../support/child.ts";

/**
 * Runs `hidden-client.ts` under strace. Gives what it printed, and every place (address and port, or path) that it
 * connected or sent to. The trace is kept in `directory`.
 */
export async function watchClient(
  directory: string,
  args: readonly string[],
): Promise<{ readonly said: string; readonly reached: readonly string[] }> {
  const trace = join(directory, `trace-${args[0] ?? ""}`);
  const program = fileURLToPath(new URL("hidden-client.ts", import.meta.url));
  const node = [process.execPath, "--conditions=@turnpike/source", program, ...args];
  const child = spawn("strace", ["-f", "-e", "trace=network", "-o", trace, ...node], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let said = "";
  child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
  const code = await new Promise((resolve) => child.once("exit", resolve));
  if (code !== 0) throw new Error(`the client under strace ended with ${String(code)}`);
  return { said, reached: await reachedIn(trace) };
}

/** Runs the command under strace until `isDone`, then stops it. Gives its output, and every place that it reached. */
export async function watchCommand(options: {
  readonly directory: string;
  readonly args: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly isDone: (child: Child) => boolean;
}): Promise<{ readonly said: string; readonly reached: readonly string[] }> {
  const { directory, args, environment = {}, isDone } = options;
  const trace = join(await mkdtemp(join(directory, "watch-")), "trace");
  const child = startChild({
    command: "strace",
    args: ["-f", "-e", "trace=network", "-o", trace, "turnpike", ...args],
    environment,
  });
  await child.waitFor(isDone, 150_000);
  // strace holds signals back while a program runs: the program itself is told.
  process.kill(Number.parseInt(await readFile(trace, "utf8"), 10), "SIGTERM");
  await child.ended;
  return { said: child.output(), reached: await reachedIn(trace) };
}

async function reachedIn(trace: string): Promise<readonly string[]> {
  const lines = (await readFile(trace, "utf8")).split("\n");
  return lines.flatMap((line) => {
    // Calls that name a destination; a socket that names none can only send where it was connected to.
    if (!/\b(?:connect|sendto|sendmsg|sendmmsg)\(/u.test(line) || !/sin6?_|sun_path/u.test(line)) return [];
    const port = /sin6?_port=htons\((\d+)\)/u.exec(line)?.[1];
    const address = /inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"/u.exec(line);
    const path = /sun_path=@?"([^"]*)"/u.exec(line)?.[1];
    return [path ?? `${address?.[1] ?? address?.[2] ?? "?"}:${port ?? "?"}`];
  });
}
