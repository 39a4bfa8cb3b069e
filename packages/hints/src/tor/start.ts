import type { Duplex } from "node:stream";
import { abortable, type Clock } from "../clock.ts";
import { type ConfiguredNetwork, describeTarget } from "../gate.ts";
import { printable } from "../hint-error.ts";
import { parsePort } from "../host-port.ts";
import type { DialTarget } from "../network.ts";
import { parseTarget } from "../target.ts";
import { parseKeywords } from "./control-protocol.ts";
import { TorControl, type TorControlCredentials } from "./control.ts";
import { type LaunchedTor, launchTor, type TorLaunchSettings } from "./launch.ts";

/**
 * Which `tor` to use. `launch` wins over `control`, which wins over `socks`; with none of them the usual SOCKS ports are
 * tried: 127.0.0.1:9050 (the daemon), then 127.0.0.1:9150 (the browser's).
 */
export interface TorSettings {
  readonly socks?: DialTarget;
  readonly control?: DialTarget;
  /** For `control`. */
  readonly credentials?: TorControlCredentials;
  readonly launch?: TorLaunchSettings;
}

/** A `tor` that carries streams. */
export interface Started {
  readonly mode: "socks" | "control" | "launch";
  /** Absent if it only has a control port, which is enough for onion services. */
  readonly socks: DialTarget | undefined;
  readonly control: TorControl | undefined;
  /** Resolves when it is known to be gone. */
  readonly lost: Promise<Error>;
  /** Lets go of it: closes the control connection, ends a launched process. */
  stop(): Promise<void>;
}

/** The usual SOCKS ports. */
const usualSocksTargets: readonly DialTarget[] = [
  { kind: "tcp", address: "127.0.0.1", port: 9050 },
  { kind: "tcp", address: "127.0.0.1", port: 9150 },
];

/** The table `[hints.tor]` of a configuration. */
export interface TorConfiguration {
  /** `127.0.0.1:9050` or `unix:/path`. */
  readonly socks?: string;
  /** `127.0.0.1:9051` or `unix:/path`. */
  readonly control?: string;
  readonly password?: string;
  readonly cookie_file?: string;
  /** True launches a `tor`. */
  readonly launch?: boolean;
  readonly executable?: string;
  /** Needed with `launch`. */
  readonly data_dir?: string;
}

/**
 * Reads `[hints.tor]`.
 *
 * @throws TypeError naming the key that is wrong.
 */
export function readTorConfiguration(configuration: TorConfiguration): TorSettings {
  const {
    socks,
    control,
    password,
    cookie_file: cookieFile,
    launch,
    executable,
    data_dir: dataDirectory,
  } = configuration;
  if (launch === true) {
    if (dataDirectory === undefined) throw new TypeError("hints.tor.launch needs hints.tor.data_dir");
    if (socks !== undefined || control !== undefined) {
      throw new TypeError(
        "hints.tor.launch excludes hints.tor.socks and hints.tor.control: a launched tor has its own",
      );
    }
    return { launch: { dataDirectory, ...(executable === undefined ? {} : { executable }) } };
  }
  if (control === undefined && (password !== undefined || cookieFile !== undefined)) {
    throw new TypeError("hints.tor.password and hints.tor.cookie_file need hints.tor.control");
  }
  return {
    ...(socks === undefined ? {} : { socks: readTarget("hints.tor.socks", socks) }),
    ...(control === undefined ? {} : { control: readTarget("hints.tor.control", control) }),
    credentials: { password, cookieFile },
  };
}

function readTarget(key: string, text: string): DialTarget {
  const target = parseTarget(text);
  if (target !== undefined) return target;
  throw new TypeError(
    `Cannot read ${key} "${printable(text)}": write ADDRESS:PORT with a literal address, or unix:/path`,
  );
}

/** Every place that settings name. */
export function torTargets(settings: TorSettings): readonly DialTarget[] {
  return [settings.socks, settings.control, ...usualSocksTargets].filter((target) => target !== undefined);
}

interface StartOptions {
  readonly network: ConfiguredNetwork;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: number | undefined, summary: string) => void;
}

/** Gets a `tor` to the point where it carries streams. */
export async function startTor(settings: TorSettings, options: StartOptions): Promise<Started> {
  if (settings.launch !== undefined) return startLaunched(settings.launch, options);
  if (settings.control !== undefined) {
    const started = await useControl(settings.control, settings.credentials ?? {}, options);
    return { ...started, mode: "control" };
  }
  const socks = await findSocks(settings.socks === undefined ? usualSocksTargets : [settings.socks], options);
  return {
    mode: "socks",
    socks,
    control: undefined,
    lost: new Promise(() => undefined),
    stop: () => Promise.resolve(),
  };
}

async function startLaunched(settings: TorLaunchSettings, options: StartOptions): Promise<Started> {
  options.onProgress(undefined, "starting its process");
  const launched: LaunchedTor = await launchTor(settings, options);
  try {
    const started = await useControl(launched.control, {}, options);
    const exit = launched.exited.then((how) => new Error(`the tor that was launched ${how}`));
    return {
      ...started,
      mode: "launch",
      lost: Promise.race([exit, started.lost]),
      async stop() {
        await started.stop();
        await launched.stop();
      },
    };
  } catch (error) {
    await launched.stop();
    throw error;
  }
}

async function useControl(
  target: DialTarget,
  credentials: TorControlCredentials,
  options: StartOptions,
): Promise<Started> {
  const { network, signal } = options;
  options.onProgress(undefined, `asking its control port ${describeTarget(target)}`);
  const control = new TorControl(await network.dial(target, { signal }));
  try {
    await control.authenticate(credentials, { signal });
    await waitForBootstrap(control, options);
    const listeners = await control.info("net/listeners/socks", { signal });
    const socks = parseListener(listeners);
    return {
      mode: "control",
      socks,
      control,
      lost: control.closed,
      stop() {
        control.close();
        return Promise.resolve();
      },
    };
  } catch (error) {
    control.close();
    throw error;
  }
}

async function waitForBootstrap(control: TorControl, options: StartOptions): Promise<void> {
  const { signal, onProgress } = options;
  const done = Promise.withResolvers<void>();
  const read = (line: string): void => {
    const words = parseKeywords(line);
    const progress = Number(words.get("PROGRESS"));
    if (!line.includes("BOOTSTRAP") || !Number.isInteger(progress)) return;
    const warning = words.get("WARNING");
    onProgress(progress, `${words.get("SUMMARY") ?? ""}${warning === undefined ? "" : ` (${warning})`}`);
    if (progress === 100) done.resolve();
  };
  const stop = control.onEvent((lines) => read(lines[0] ?? ""));
  const lost = control.closed.then((error) => {
    throw error;
  });
  lost.catch(() => undefined);
  try {
    await control.command("SETEVENTS STATUS_CLIENT HS_DESC", { signal });
    read(await control.info("status/bootstrap-phase", { signal }));
    await abortable(Promise.race([done.promise, lost]), signal);
  } finally {
    stop();
  }
}

/** How long a SOCKS port may take to greet, in milliseconds. */
const greetingMilliseconds = 5_000;

/** Tries ports until one greets as SOCKS5 does (RFC 1928 §3). */
async function findSocks(targets: readonly DialTarget[], options: StartOptions): Promise<DialTarget> {
  const problems: string[] = [];
  for (const target of targets) {
    options.onProgress(undefined, `trying its SOCKS port ${describeTarget(target)}`);
    try {
      const stream = await options.network.dial(target, { signal: options.signal });
      await greet(stream, options);
      return target;
    } catch (error) {
      options.signal.throwIfAborted();
      problems.push(`${describeTarget(target)}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  throw new Error(`no SOCKS port of it answers (${problems.join("; ")}); start tor, or set [hints.tor]`);
}

async function greet(stream: Duplex, { signal, clock }: StartOptions): Promise<void> {
  const greeted = new Promise<void>((resolve, reject) => {
    stream.once("data", (chunk: Buffer) => {
      if (chunk[0] === 5) resolve();
      else reject(new Error("what answers there does not speak SOCKS5"));
    });
    stream.once("error", reject);
    stream.once("end", () => reject(new Error("it closed the connection")));
    stream.once("close", () => reject(new Error("it closed the connection")));
  });
  const silence = new AbortController();
  const cancel = clock.after(greetingMilliseconds, () => silence.abort(new Error("it does not answer")));
  try {
    stream.write(Buffer.from([5, 1, 0]));
    await abortable(greeted, AbortSignal.any([signal, silence.signal]));
  } finally {
    cancel();
    stream.destroy();
  }
}

/** Reads `GETINFO net/listeners/socks`: quoted listeners, such as `"127.0.0.1:9050" "unix:/run/tor/socks"`. */
export function parseListener(text: string): DialTarget | undefined {
  for (const word of text.split('"')) {
    if (word.startsWith("unix:/")) return { kind: "unix", path: word.slice("unix:".length) };
    const colon = word.lastIndexOf(":");
    const port = colon < 0 ? undefined : parsePort(word.slice(colon + 1));
    if (port === undefined) continue;
    const address = word.slice(0, colon).replace(/^\[(.*)\]$/u, "$1");
    return { kind: "tcp", address: address === "0.0.0.0" ? "127.0.0.1" : address === "::" ? "::1" : address, port };
  }
  return undefined;
}
