import { dirname, isAbsolute, join } from "node:path";
import { createTurnHintHandler } from "@turnpike/client";
import { Connector, readTorConfiguration, type HintPolicy, type TorSettings } from "@turnpike/hints";
import type { LoadedConfiguration } from "../config/load.ts";
import type { Configuration } from "../config/schema.ts";
import { ConfigurationError } from "../errors.ts";
import { reasonOf } from "../options.ts";
import type { World } from "../world.ts";

type HintSettings = Configuration["hints"];

/** What {@link createConnector} goes by. */
export interface ConnectorSettings {
  readonly loaded: LoadedConfiguration;
  readonly world: World;
  /** Whether hints may reach Unix sockets: those that a person typed may, those of a reference may not. */
  readonly unixSockets: boolean;
  /** True: it dials nothing but Tor, as for listeners. */
  readonly onlyTor?: boolean;
}

/** Makes a connector from `[hints]`, with the handler of `turn:` if there is a relay. @throws ConfigurationError; TypeError */
export function createConnector(settings: ConnectorSettings): Connector {
  const { loaded, world } = settings;
  const { hints } = loaded.configuration;
  const ca = hints.ca_file === undefined ? undefined : readConfigured("ca_file", hints.ca_file, { loaded, world });
  const policy: HintPolicy = {
    revealIpAddress: hints.reveal_ip_address,
    privateAddresses: hints.private_addresses,
    allow: hints.allow,
    deny: hints.deny,
    unixSockets: settings.unixSockets,
  };
  const connector = new Connector({
    policy,
    tcp: settings.onlyTor === true ? "disabled" : hints.tcp,
    overrides: settings.onlyTor === true ? [] : hints.override,
    tor: torSettings(hints.tor),
    ...(ca === undefined ? {} : { ca: [ca] }),
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
        ...(ca === undefined ? {} : { tls: { ca } }),
      }),
    );
  }
  return connector;
}

function torSettings(tor: HintSettings["tor"]): TorSettings {
  const { launch, ...others } = tor;
  const given = Object.fromEntries(Object.entries(others).filter(([, value]) => value !== undefined));
  return readTorConfiguration({ ...given, launch });
}

/** Reads a file that a key of `[hints]` names, relative to the configuration file or the working directory. */
function readConfigured(
  name: string | readonly string[],
  path: string,
  { loaded, world }: { readonly loaded: LoadedConfiguration; readonly world: World },
): string {
  const keyPath = ["hints", ...[name].flat()];
  const value = loaded.values.find(({ key }) => key.path.join(".") === keyPath.join("."));
  const full = value?.source.kind === "file" && !isAbsolute(path) ? join(dirname(value.source.name), path) : path;
  try {
    return world.readFile(full);
  } catch (error) {
    const message = `${keyPath.join(".")}: ${full} can't be read: ${reasonOf(error)}`;
    throw new ConfigurationError([{ where: loaded.placeOf(keyPath), message }]);
  }
}
