import { type ChildProcess, spawn } from "node:child_process";
import { chmod, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Clock, delay } from "../clock.ts";
import { printable } from "../hint-error.ts";
import type { DialTarget } from "../network.ts";

/** A `tor` of our own. */
export interface TorLaunchSettings {
  /** Default `tor`, looked up in PATH. */
  readonly executable?: string;
  /** Kept between starts: guards and cached directories live here. Made with mode 0700. */
  readonly dataDirectory: string;
  /** Further lines of its torrc, such as bridges. Local configuration only. */
  readonly configuration?: readonly string[];
}

/** A `tor` process that was launched here. */
export interface LaunchedTor {
  readonly control: DialTarget;
  /** Resolves with a description when the process has ended. */
  readonly exited: Promise<string>;
  /** Ends the process and waits for its end. */
  stop(): Promise<void>;
}

/** Launches `tor` with SOCKS and control ports of its own choosing on loopback, and waits for the control port. */
export async function launchTor(
  settings: TorLaunchSettings,
  options: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<LaunchedTor> {
  const { dataDirectory } = settings;
  await mkdir(dataDirectory, { recursive: true, mode: 0o700 });
  await chmod(dataDirectory, 0o700);
  const portFile = join(dataDirectory, "control-port");
  const torrc = join(dataDirectory, "torrc");
  const empty = join(dataDirectory, "torrc-defaults");
  await rm(portFile, { force: true });
  await writeFile(empty, "", { mode: 0o600 });
  await writeFile(torrc, torrcLines(settings, portFile).join("\n"), { mode: 0o600 });
  const child = spawn(settings.executable ?? "tor", ["-f", torrc, "--defaults-torrc", empty, "--hush"], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  const complaint = lastComplaint(child);
  const exited = exitOf(child);
  let ended: string | undefined;
  void exited.then((how) => {
    ended = how;
  });
  const stop = async (): Promise<void> => {
    if (ended === undefined) child.kill("SIGTERM");
    const cancel = options.clock.after(8_000, () => child.kill("SIGKILL"));
    await exited;
    cancel();
  };
  try {
    for (;;) {
      if (ended !== undefined) throw new Error(`tor ${ended}${complaint()}`);
      const control = await readPortFile(portFile);
      if (control !== undefined) return { control, exited, stop };
      await delay(options.clock, 50, options.signal);
    }
  } catch (error) {
    await stop();
    throw error;
  }
}

function torrcLines(settings: TorLaunchSettings, portFile: string): readonly string[] {
  const { dataDirectory } = settings;
  for (const line of settings.configuration ?? []) {
    if (/[\r\n\0]/u.test(line)) throw new TypeError("Each entry of the Tor configuration must be one line");
  }
  return [
    `DataDirectory ${quotePath(dataDirectory)}`,
    "SocksPort auto ExtendedErrors",
    "ControlPort auto",
    `ControlPortWriteToFile ${quotePath(portFile)}`,
    "CookieAuthentication 1",
    // tor ends when this process does, however it ends.
    `__OwningControllerProcess ${process.pid}`,
    // The one path that tor reads to the end of the line, quotes and all.
    `Log notice file ${join(dataDirectory, "tor.log")}`,
    "AvoidDiskWrites 1",
    ...(settings.configuration ?? []),
    "",
  ];
}

function quotePath(path: string): string {
  if (/[\r\n\0"]/u.test(path)) throw new TypeError(`Tor cannot use the path ${JSON.stringify(path)}`);
  return `"${path.replaceAll("\\", "\\\\")}"`;
}

function exitOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.once("error", (error) =>
      resolve(`could not be started (${error.message}); install it or set its executable`),
    );
    child.once("exit", (code, signal) => resolve(`ended with ${signal ?? `code ${String(code)}`}`));
  });
}

/** What tor last complained of on its standard output, in one line. */
function lastComplaint(child: ChildProcess): () => string {
  let tail = "";
  child.stdout?.on("data", (chunk: Buffer) => {
    tail = (tail + chunk.toString("latin1")).slice(-4_096);
  });
  return () => {
    const lines = tail.split("\n").filter((line) => /\[(?:warn|err)\]/u.test(line));
    const said = lines.at(-2) ?? lines.at(-1);
    return said === undefined ? "" : `: ${printable(said.replace(/^.*?\] /u, ""), 300)}`;
  };
}

async function readPortFile(path: string): Promise<DialTarget | undefined> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch {
    return undefined;
  }
  const match = /^PORT=(127\.0\.0\.1):(\d{1,5})\r?\n/u.exec(text);
  return match?.[1] === undefined ? undefined : { kind: "tcp", address: match[1], port: Number(match[2]) };
}
