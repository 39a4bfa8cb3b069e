import { Option, type Command } from "commander";
import { CommandError } from "./errors.ts";
import {
  CONFIG_VARIABLE,
  KEYS,
  loadConfiguration,
  type ConfigurationFile,
  type LoadedConfiguration,
} from "./config/load.ts";
import { environmentVariable, type ConfigurationKey } from "./config/setting.ts";
import type { World } from "./world.ts";

/** The file that is read if none is named. */
export const DEFAULT_FILE = "turnpike.toml";

/** The keys that a relay goes by: those of `[hints]` say what may be revealed, but no flag of the relay's is for them. */
export function isForRelay({ path }: ConfigurationKey): boolean {
  return path[0] !== "hints" || !["listen", "advertise", "turn"].includes(String(path[1]));
}

/** Adds `--config` and the flags of the keys that `select` picks to a command. */
export function addConfigurationFlags(
  command: Command,
  select: (key: ConfigurationKey) => boolean = () => true,
): Command {
  command.addOption(
    new Option(
      "--config <FILE>",
      `configuration file (default: ./${DEFAULT_FILE} if present; env: ${CONFIG_VARIABLE})`,
    ),
  );
  const chosen = KEYS.filter((key) => key.setting.flag !== undefined && select(key));
  // A short list needs no headings.
  const isGrouped = chosen.length > LONGEST_FLAT_LIST;
  const add = (option: Option, { path: [table] }: ConfigurationKey): void => {
    command.addOption(isGrouped ? option.helpGroup(headingOf(table)) : option);
  };
  for (const key of chosen) {
    const { flag, value, description } = key.setting;
    if (flag === undefined) continue;
    const isList = key.kind === "textList" || key.kind === "tableList";
    const isSwitch = key.kind === "boolean" && value === undefined;
    const notes = [
      ...(isList ? ["repeatable"] : []),
      ...(key.choices === undefined ? [] : [key.choices.join(", ")]),
      ...(isSwitch ? [] : defaultNote(key)),
    ];
    const text = [description, ...note(notes)].join(" ");
    if (isSwitch) {
      add(new Option(flag, text), key);
      continue;
    }
    const option = new Option(`${flag} <${value ?? "VALUE"}>`, text);
    option.argParser((text: string, previous: readonly string[] | undefined) => [...(previous ?? []), text]);
    add(option, key);
  }
  return command;
}

const LONGEST_FLAT_LIST = 15;

/** What stands above the flags of a table in the help. */
function headingOf(table: string | number | undefined): string {
  return `[${String(table)}] ${HEADINGS[String(table)] ?? ""}`.trim();
}

const HEADINGS: Readonly<Record<string, string>> = {
  relay: "where the relay serves and what it relays by",
  streams: "clients over TCP, TLS, DTLS and WebSocket",
  tls: "the certificate",
  authn: "how clients authenticate",
  turn: "who may use the relay",
  penalties: "what wrong credentials cost",
  peers: "what may be reached through the relay",
  hints: "connection hints",
  portal: "the control plane, and the link to it",
  telemetry: "metrics, traces and health",
  quota: "how much users may",
  control: "the socket of turnpike ctl",
  log: "messages on standard error",
};

/** Loads the configuration from the flags that were given to `command`, the environment and the file. */
export function configurationOf(command: Command, world: World): LoadedConfiguration {
  const options: Readonly<Record<string, unknown>> = command.opts();
  const flags = new Map<string, readonly string[]>();
  for (const option of command.options) {
    const texts = options[option.attributeName()];
    if (option.long === undefined || option.long === null) continue;
    if (Array.isArray(texts)) flags.set(option.long, texts);
    else if (texts === true) flags.set(option.long, ["true"]);
  }
  const named = options["config"] ?? (world.environment[CONFIG_VARIABLE] || undefined);
  const file = typeof named === "string" ? readFile(named, world) : readDefaultFile(world);
  return loadConfiguration({ ...(file === undefined ? {} : { file }), environment: world.environment, flags });
}

/** Reads a configuration file. @throws CommandError if it can't be read. */
export function readFile(name: string, world: World): ConfigurationFile {
  try {
    return { name, text: world.readFile(name) };
  } catch (error) {
    throw new CommandError(`${name}: can't be read: ${reasonOf(error)}`, { exitCode: 2, cause: error });
  }
}

/** A file system error without the path, which the message already has. */
export function reasonOf(error: unknown): string {
  const code: unknown = error instanceof Error && "code" in error ? error.code : undefined;
  switch (code) {
    case "ENOENT":
      return "no such file";
    case "EACCES":
      return "permission denied";
    case "EISDIR":
      return "is a directory";
    default:
      return typeof code === "string" ? code : String(error);
  }
}

function readDefaultFile(world: World): ConfigurationFile | undefined {
  try {
    return { name: DEFAULT_FILE, text: world.readFile(DEFAULT_FILE) };
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw new CommandError(`${DEFAULT_FILE}: can't be read: ${reasonOf(error)}`, { exitCode: 2, cause: error });
  }
}

function defaultNote(key: ConfigurationKey): readonly string[] {
  if (key.setting.defaultText !== undefined) return [`default: ${key.setting.defaultText.replaceAll("`", "")}`];
  const { defaultValue } = key;
  const isNothing = defaultValue === undefined || (Array.isArray(defaultValue) && defaultValue.length === 0);
  return isNothing
    ? []
    : [`default: ${typeof defaultValue === "string" ? defaultValue : JSON.stringify(defaultValue)}`];
}

function note(notes: readonly string[]): readonly string[] {
  return notes.length === 0 ? [] : [`(${notes.join("; ")})`];
}

/** The line below the options of each command. */
export const ENVIRONMENT_HELP: string = `
Every flag is also an environment variable (--realm: ${environmentVariable("--realm")}) and a key of ${DEFAULT_FILE} (relay.realm).
Flags win over variables, variables over the file. Reference: docs/configuration.md`;
