/** What {@link watchFiles} goes by. */
export interface WatchFilesOptions {
  /** What is watched at the moment: each file with the state that is known of it. */
  readonly files: () => ReadonlyMap<string, string | undefined>;
  /** A text that is another whenever the file is another; undefined if there is none. */
  readonly stateOf: (path: string) => string | undefined;
  readonly every: (intervalMs: number, callback: () => void) => () => void;
  /** Told once for each change, with the files that changed. */
  readonly onChange: (paths: readonly string[]) => void;
  /** How often the files are looked at. Default 1,000. */
  readonly intervalMs?: number;
}

const DEFAULT_INTERVAL_MS = 1000;

/**
 * Looks at files until the returned function is called. A change is told when two looks in a row have seen the same: who
 * saves in several steps, or moves a new file over the old one, is heard once. By looking rather than by notices of the
 * kernel, which are lost where a file is replaced, mounted from elsewhere, or reached through a link that moves.
 */
export function watchFiles(options: WatchFilesOptions): () => void {
  const { files, stateOf, onChange, intervalMs = DEFAULT_INTERVAL_MS } = options;
  const told = new Map<string, string | undefined>();
  let seen = new Map<string, string | undefined>();
  return options.every(intervalMs, () => {
    const states = new Map([...files().keys()].map((path) => [path, stateOf(path)]));
    const changed: string[] = [];
    for (const [path, known] of files()) {
      const state = states.get(path);
      const isSettled = seen.has(path) && seen.get(path) === state;
      if (state === known || !isSettled || (told.has(path) && told.get(path) === state)) continue;
      changed.push(path);
    }
    seen = states;
    if (changed.length === 0) return;
    for (const path of changed) told.set(path, states.get(path));
    onChange(changed);
  });
}
