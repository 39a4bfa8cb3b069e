import type { Command } from "commander";
import type { World } from "./world.ts";

/** A command as the help of `turnpike` shows it. */
export interface CommandEntry {
  readonly name: string;
  /** What stands behind the name in the help. */
  readonly takes: string;
  readonly description: string;
  /** Loads what gives the command its flags and what it does: all of it is long to load, and one command needs little. */
  readonly load: () => Promise<(command: Command, world: World) => void>;
}

/** Every command, in the order of the help. */
export const COMMANDS: readonly CommandEntry[] = [
  {
    name: "serve",
    takes: "[options]",
    description: "run relay and portal in one process, and print their URLs and the iceServers for a WebRTC page",
    load: async () => (await import("./commands/serve.ts")).defineServeCommand,
  },
  {
    name: "relay",
    takes: "[options]",
    description:
      "run the relay; with --portal it links first and waits for init; SIGTERM or SIGINT drains it, a second one stops it at once; SIGHUP reloads its configuration",
    load: async () => (await import("./commands/relay.ts")).defineRelayCommand,
  },
  {
    name: "portal",
    takes: "[options]",
    description: "run the portal: users, tokens, minting and the fleet's relays; SIGTERM or SIGINT stops it",
    load: async () => (await import("./commands/portal.ts")).definePortalCommand,
  },
  {
    name: "credentials",
    takes: "",
    description: "mint and verify time-limited credentials",
    load: async () => (await import("./commands/credentials.ts")).defineCredentialsCommand,
  },
  {
    name: "ctl",
    takes: "[options]",
    description: "administer a relay of this machine over its control socket",
    load: async () => (await import("./commands/ctl.ts")).defineCtlCommand,
  },
  {
    name: "xdp",
    takes: "",
    description: "look at the kernel plane of a relay of this machine",
    load: async () => (await import("./commands/xdp.ts")).defineXdpCommand,
  },
  {
    name: "check",
    takes: "[options] <URI...>",
    description:
      "try STUN and TURN servers the way a client does, transport by transport; exit code 0 only if all pass",
    load: async () => (await import("./commands/check.ts")).defineCheckCommand,
  },
  {
    name: "bench",
    takes: "[options] <URI...>",
    description: "put a TURN server under load and report loss, round trips and a histogram",
    load: async () => (await import("./commands/bench.ts")).defineBenchCommand,
  },
  {
    name: "connect",
    takes: "[options] <HINT...>",
    description: "netcat over connection hints: the fastest of them carries standard input and output",
    load: async () => (await import("./commands/connect.ts")).defineConnectCommand,
  },
  {
    name: "listen",
    takes: "[options] [SPEC...]",
    description: "the other end of turnpike connect: takes one stream and carries standard input and output",
    load: async () => (await import("./commands/listen.ts")).defineListenCommand,
  },
  {
    name: "config",
    takes: "",
    description: "check or print the configuration, or import that of coturn",
    load: async () => (await import("./commands/config.ts")).defineConfigCommand,
  },
];
