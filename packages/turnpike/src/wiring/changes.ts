import { isDeepStrictEqual } from "node:util";
import type { Credentials } from "../config/credentials.ts";
import { KEYS } from "../config/load.ts";
import { type ConfigurationKey, keyName } from "../config/setting.ts";
import { valueAt } from "../config/tree.ts";
import type { ReadConfiguration } from "./configuration-source.ts";

/** What differs between two configurations, by the names of the keys. */
export interface Changes {
  /** What takes effect while the process runs. */
  readonly live: readonly string[];
  /** What takes effect at the next start. */
  readonly restart: readonly string[];
}

/** Which keys matter. */
export interface KeySelection {
  /** Those that the process goes by at all. */
  readonly concerned: (key: ConfigurationKey) => boolean;
  /** Those that it takes over while it runs; a table's name stands for all that is in it. */
  readonly live: readonly string[];
}

/** Compares what a process runs by with what it has read. Never holds a value: it may be a secret. */
export function changesBetween(before: ReadConfiguration, after: ReadConfiguration, keys: KeySelection): Changes {
  const names = new Set<string>();
  for (const key of KEYS) {
    const [old, now] = [before, after].map(({ loaded }) => valueAt(loaded.configuration, key.path));
    if (!keys.concerned(key) || isDeepStrictEqual(old, now)) continue;
    names.add(keyName(key.path.filter((part) => typeof part === "string")));
  }
  for (const [name, reveal] of Object.entries(CONTENTS)) {
    // The files that hold them may have changed, and no key.
    if (!isDeepStrictEqual(reveal(before.credentials), reveal(after.credentials))) names.add(name);
  }
  const isLive = (name: string): boolean => keys.live.some((live) => name === live || name.startsWith(`${live}.`));
  return { live: [...names].filter(isLive), restart: [...names].filter((name) => !isLive(name)) };
}

const CONTENTS: Readonly<Record<string, (credentials: Credentials) => unknown>> = {
  "turn.user": ({ users }) => users.map(({ name, password, key }) => [name, password?.reveal(), key?.reveal()]),
  "turn.shared_secrets": ({ sharedSecrets }) => sharedSecrets.map((secret) => secret.reveal()),
  "turn.webhook.token": ({ webhookToken }) => webhookToken?.reveal(),
  "turn.oauth.key": ({ oauthKeys }) =>
    oauthKeys.map(({ kid, key, algorithm }) => [kid, Buffer.from(key.revealBytes()).toString("hex"), algorithm]),
};
