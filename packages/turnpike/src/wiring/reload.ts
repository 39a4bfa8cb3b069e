import { CommandError, ConfigurationError } from "../errors.ts";
import type { Logger } from "../log.ts";
import type { World } from "../world.ts";
import { type Changes, changesBetween, type KeySelection } from "./changes.ts";
import type { ConfigurationSource, ReadConfiguration } from "./configuration-source.ts";
import type { ServiceManager } from "./service-manager.ts";
import { watchFiles } from "./watch-files.ts";

/** What {@link reloadOnDemand} goes by. */
export interface ReloadOptions extends KeySelection {
  readonly source: ConfigurationSource;
  /** What the process runs by. */
  readonly initial: ReadConfiguration;
  readonly world: World;
  readonly logger: Logger;
  readonly service: ServiceManager;
}

/**
 * Takes over what has changed. What it can't take over while the process runs, it names.
 *
 * @throws TypeError or RangeError for what doesn't fit together; then nothing has changed
 */
export type Apply = (next: ReadConfiguration) => readonly string[];

/** Reloads on demand. */
export interface Reloader {
  /** The process runs: what was asked for until here is done, and what comes. */
  begin(apply: Apply): void;
  close(): void;
}

/**
 * Reads the configuration again at each SIGHUP, and when a file of it changes. One that can't be used changes nothing.
 */
export function createReloader(options: ReloadOptions): Reloader {
  const { source, world, logger, service } = options;
  let current = options.initial;
  let apply: Apply | undefined;
  let waiting: Readonly<Record<string, unknown>> | undefined;
  const reload = (because: Readonly<Record<string, unknown>>): void => {
    if (apply === undefined) {
      waiting = because;
      return;
    }
    service.reloading();
    try {
      current = reloadOnce({ ...options, apply }, { current, because });
    } catch (error) {
      const problems = problemsOf(error);
      const fields = problems === undefined ? { err: error } : { problems };
      logger.error({ ...because, ...fields }, "The configuration can't be reloaded: nothing has changed");
    } finally {
      service.ready();
    }
  };
  const unwatch = watchFiles({
    files: () => source.files,
    stateOf: world.fileState,
    every: world.every,
    onChange: (files) => reload({ files }),
  });
  const unlisten = world.onReloadSignal(() => reload({ signal: "SIGHUP" }));
  return {
    begin(how) {
      apply = how;
      if (waiting !== undefined) reload(waiting);
    },
    close() {
      unwatch();
      unlisten();
    },
  };
}

/** @returns what the process runs by from here on */
function reloadOnce(
  options: ReloadOptions & { readonly apply: Apply },
  { current, because }: { readonly current: ReadConfiguration; readonly because: Readonly<Record<string, unknown>> },
): ReadConfiguration {
  const { source, logger, apply } = options;
  const next = source.read();
  const changes: Changes = {
    live: changesBetween(current, next, options).live,
    // What waits for the next start goes on waiting, however often something else is reloaded.
    restart: changesBetween(options.initial, next, options).restart,
  };
  const kept = apply(next);
  const restart = [...new Set([...changes.restart, ...kept])];
  const changed = changes.live.filter((name) => !kept.includes(name));
  if (restart.length === 0) logger.info({ ...because, changed }, "The configuration was reloaded");
  else logger.warn({ ...because, changed, restart }, "The configuration was reloaded, but for what needs a restart");
  for (const { where, message } of next.concerns) logger.warn({ where }, message);
  return next;
}

/** `file:line:column: what is wrong`, one text each; undefined for an error of the program. */
function problemsOf(error: unknown): readonly string[] | undefined {
  if (error instanceof ConfigurationError) return error.problems.map(({ where, message }) => `${where}: ${message}`);
  const isExpected = error instanceof CommandError || error instanceof TypeError || error instanceof RangeError;
  return isExpected ? [error.message] : undefined;
}
