import { spawn } from "node:child_process";
import { delimiter } from "node:path";
import { fileURLToPath } from "node:url";

/** The root of the repository, with a slash at its end. */
export const ROOT: string = fileURLToPath(new URL("../../", import.meta.url));

/** A program that a test started. */
export interface Child {
  readonly pid: number;
  /** What it has written, both streams in the order of arrival. */
  output(): string;
  stdout(): string;
  stderr(): string;
  /** Resolves when `isThere` says so of what it has written; rejects if it ends before, or after `timeoutMs`. */
  waitFor(isThere: (child: Child) => boolean, timeoutMs: number): Promise<void>;
  signal(signal: NodeJS.Signals): void;
  /** Resolves with its exit code, or null if a signal ended it. */
  readonly ended: Promise<number | null>;
  /** Ends it by SIGTERM, after ten seconds by SIGKILL. */
  stop(): Promise<number | null>;
}

/** What to start. */
export interface ChildOptions {
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd?: string;
  readonly environment?: Readonly<Record<string, string>>;
}

/** Starts a program; those of `node_modules/.bin` are found first. */
export function startChild(options: ChildOptions): Child {
  const { command, args } = options;
  const path = [`${ROOT}node_modules/.bin`, process.env["PATH"] ?? ""].join(delimiter);
  const child = spawn(command, args, {
    cwd: options.cwd ?? ROOT,
    env: { ...process.env, NO_COLOR: "1", PATH: path, ...options.environment },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  let output = "";
  const watchers = new Set<() => void>();
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve(code));
  });
  ended.catch(() => {});
  const take = (text: string): void => {
    output += text;
    for (const watch of watchers) watch();
  };
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
    take(text);
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
    take(text);
  });

  const self: Child = {
    pid: child.pid ?? 0,
    output: () => output,
    stdout: () => stdout,
    stderr: () => stderr,
    ended,
    signal: (signal) => {
      child.kill(signal);
    },
    waitFor: (isThere, timeoutMs) =>
      new Promise((resolve, reject) => {
        const finish = (error?: Error): void => {
          clearTimeout(timer);
          watchers.delete(watch);
          if (error === undefined) resolve();
          else reject(error);
        };
        const watch = (): void => {
          if (isThere(self)) finish();
        };
        const timer = setTimeout(
          () => finish(new Error(`${command}: not there after ${timeoutMs} ms:\n${output}`)),
          timeoutMs,
        );
        watchers.add(watch);
        void ended.then(
          (code) => finish(new Error(`${command} ended with ${code} before it was there:\n${output}`)),
          (error: unknown) => finish(new Error(`${command} can't be started`, { cause: error })),
        );
        watch();
      }),
    stop: async () => {
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), 10_000);
      try {
        return await ended;
      } finally {
        clearTimeout(timer);
      }
    },
  };
  return self;
}

/** Runs a program to its end, at most `timeoutMs` long. */
export async function runChild(options: ChildOptions & { readonly timeoutMs: number }): Promise<{
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly output: string;
}> {
  const child = startChild(options);
  const timer = setTimeout(() => child.signal("SIGKILL"), options.timeoutMs);
  try {
    const code = await child.ended;
    return { code, stdout: child.stdout(), stderr: child.stderr(), output: child.output() };
  } finally {
    clearTimeout(timer);
  }
}
