import { dirname, isAbsolute, join } from "node:path";
import { createTurnHintHandler } from "@turnpike/client";
import { Connector, readTorConfiguration, type HintPolicy, type TorSettings } from "@turnpike/hints";
import type { LoadedConfiguration } from "../config/load.ts";
import { ConfigurationError } from "../errors.ts";
import { reasonOf } from "../options.ts";
import type { World } from "../world.ts";

/** What {@link createConnector} goes by. */
export interface ConnectorSettings {
  readonly loaded: LoadedConfiguration;
  readonly world: World;
  /** Whether hints may reach Unix sockets: those that a person typed may, those of a reference may not. */
  readonly unixSockets: boolean;
  /** Default: as `hints.private_addresses` says. */
  readonly privateAddresses?: HintPolicy["privateAddresses"];
  /** True: it dials nothing but Tor, as for listeners. */
  readonly onlyTor?: boolean;
}

/** Makes a connector from `[hints]`, with the handler of `turn:` if there is a relay. @throws ConfigurationError; TypeError */
export function createConnector(settings: ConnectorSettings): Connector {
  const { loaded, world } = settings;
  const { hints } = loaded.configuration;
  const ca = readAuthorities(loaded, world);
  const policy: HintPolicy = {
    revealIpAddress: hints.reveal_ip_address,
    privateAddresses: settings.privateAddresses ?? hints.private_addresses,
    allow: hints.allow,
    deny: hints.deny,
    unixSockets: settings.unixSockets,
  };
  const connector = new Connector({
    policy,
    tcp: settings.onlyTor === true ? "disabled" : hints.tcp,
    overrides: settings.onlyTor === true ? [] : hints.override,
    tor: torSettings(loaded),
    ...(ca === undefined ? {} : { ca }),
  });
  const { relay, username, credential, credential_file: file } = hints.turn;
  if (relay !== undefined && settings.onlyTor !== true) {
    const secret =
      file === undefined
        ? credential
        : readConfigured(["turn", "credential_file"], file, { loaded, world }).split(/\r?\n/u)[0];
    connector.addHintHandler(
      "turn",
      createTurnHintHandler({
        relay,
        ...(username === undefined || secret === undefined ? {} : { username, credential: secret }),
        connector,
        ...(ca === undefined ? {} : { tls: { ca: ca.join("\n") } }),
      }),
    );
  }
  return connector;
}

/** The certificates of `hints.ca_file`, PEM. @throws ConfigurationError */
export function readAuthorities(loaded: LoadedConfiguration, world: World): readonly string[] | undefined {
  const file = loaded.configuration.hints.ca_file;
  return file === undefined ? undefined : [readConfigured("ca_file", file, { loaded, world })];
}

function torSettings(loaded: LoadedConfiguration): TorSettings {
  const { launch, cookie_file: cookie, ...others } = loaded.configuration.hints.tor;
  const given = Object.fromEntries(Object.entries(others).filter(([, value]) => value !== undefined));
  return readTorConfiguration({
    ...given,
    launch,
    ...(cookie === undefined ? {} : { cookie_file: pathOf(loaded, ["hints", "tor", "cookie_file"], cookie) }),
  });
}

/** A path as a key has it: relative to the configuration file that names it, or to the working directory. */
function pathOf(loaded: LoadedConfiguration, keyPath: readonly string[], path: string): string {
  const value = loaded.values.find(({ key }) => key.path.join(".") === keyPath.join("."));
  return value?.source.kind === "file" && !isAbsolute(path) ? join(dirname(value.source.name), path) : path;
}

/** Reads a file that a key of `[hints]` names. */
function readConfigured(
  name: string | readonly string[],
  path: string,
  { loaded, world }: { readonly loaded: LoadedConfiguration; readonly world: World },
): string {
  const keyPath = ["hints", ...[name].flat()];
  const full = pathOf(loaded, keyPath, path);
  try {
    return world.readFile(full);
  } catch (error) {
    const message = `${keyPath.join(".")}: ${full} can't be read: ${reasonOf(error)}`;
    throw new ConfigurationError([{ where: loaded.placeOf(keyPath), message }]);
  }
}
