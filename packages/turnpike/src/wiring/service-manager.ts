import { execFile } from "node:child_process";
import { openNotifySocket } from "@turnpike/relay";
import type { Logger } from "../log.ts";
import type { World } from "../world.ts";

/** Whoever started the process and wants to know how it is: systemd, by sd_notify(3). */
export interface ServiceManager {
  /** It serves. */
  ready(): void;
  /** It takes over another configuration; {@link ready} follows. */
  reloading(): void;
  /** It ends, at the latest after `seconds`. */
  stopping(seconds: number): void;
  close(): void;
}

/** What it may take to end once the last allocation is gone. */
const STOP_MARGIN_SECONDS = 30;

const NOBODY: ServiceManager = { ready() {}, reloading() {}, stopping() {}, close() {} };

/** Connects to the service manager that the environment names, if any; keeps its watchdog quiet. */
export function connectServiceManager({
  world,
  logger,
}: {
  readonly world: World;
  readonly logger: Logger;
}): ServiceManager {
  const path = world.environment["NOTIFY_SOCKET"];
  if (path === undefined || path === "") return NOBODY;
  const { send, close } = senderTo(path, logger);
  const intervalMs = watchdogMs(world);
  const unwatch = intervalMs === undefined ? undefined : world.every(intervalMs, () => send("WATCHDOG=1"));
  return {
    ready: () => send("READY=1\nSTATUS=Serving"),
    reloading: () => send(`RELOADING=1\nMONOTONIC_USEC=${process.hrtime.bigint() / 1000n}\nSTATUS=Reloading`),
    stopping(seconds) {
      const timeoutUs = (seconds + STOP_MARGIN_SECONDS) * 1_000_000;
      send(`STOPPING=1\nSTATUS=Draining for at most ${seconds} s\nEXTEND_TIMEOUT_USEC=${timeoutUs}`);
    },
    close() {
      unwatch?.();
      close();
    },
  };
}

interface Sender {
  readonly send: (text: string) => void;
  readonly close: () => void;
}

/** By a system call where that can be had, else by the program that systemd has for scripts. */
function senderTo(path: string, logger: Logger): Sender {
  const socket = openNotifySocket(path);
  if (!("unavailable" in socket)) {
    return {
      send: (text) => {
        if (!socket.send(text)) logger.warn({}, "The service manager does not take messages");
      },
      close: () => socket.close(),
    };
  }
  logger.debug({ reason: socket.unavailable }, "The service manager is told by systemd-notify");
  let last: Promise<void> = Promise.resolve();
  return {
    // One after the other: systemd goes by the last state that it was told.
    send: (text) => {
      last = last.then(() => runNotify(text.split("\n"), logger));
    },
    close: () => {},
  };
}

function runNotify(args: readonly string[], logger: Logger): Promise<void> {
  return new Promise((resolve) => {
    execFile("systemd-notify", [...args], { timeout: 10_000 }, (error) => {
      if (error !== null) logger.warn({ reason: error.message }, "The service manager can't be told");
      resolve();
    });
  });
}

/** Half of the time after which systemd takes the process for dead, if it watches this one. */
function watchdogMs({ environment }: World): number | undefined {
  const us = Number(environment["WATCHDOG_USEC"] ?? 0);
  const pid = environment["WATCHDOG_PID"];
  const isWatched = us > 0 && (pid === undefined || pid === "" || pid === String(process.pid));
  return isWatched ? Math.max(1, Math.floor(us / 2000)) : undefined;
}
