import { nearest } from "../config/nearest.ts";
import { checkRedirectServer } from "../config/values.ts";
import { Draft, type Remark } from "./draft.ts";
import { COTURN_KEYS } from "./keys.ts";
import { LISTENER_KEYS, translateListeners } from "./listeners.ts";
import { type CoturnEntry, isOn, parseCoturn, wholeNumber } from "./parse.ts";
import { writeToml } from "./write-toml.ts";

/** A `turnserver.conf`, translated. */
export interface ImportedConfiguration {
  /** A `turnpike.toml` that `config check` accepts. Holds the secrets of the original. */
  readonly toml: string;
  /** What is to be said of the lines, in their order. Never repeats a secret. */
  readonly remarks: readonly Remark[];
}

/** Keys of coturn's listeners that may be given more than once. */
const REPEATABLE_LISTENER_KEYS: readonly string[] = ["listening-ip"];
const PROMETHEUS_PORT = 9641;

/** Translates a `turnserver.conf`. Never throws: what can't be translated is remarked on. */
export function importCoturn(options: { readonly name: string; readonly text: string }): ImportedConfiguration {
  const draft = new Draft();
  const entries = known(parseCoturn(options.text), draft);
  for (const { key, value, line } of entries) {
    if (value.endsWith(";")) draft.warn(line, `${key}: the ";" at its end is taken as a part of the value`);
  }
  translateListeners(
    entries.filter(({ key }) => LISTENER_KEYS.has(key)),
    draft,
  );
  for (const entry of entries) COTURN_KEYS.get(entry.key)?.translate(entry, draft);
  translatePrometheus(entries, draft);
  translateAlternates(entries, draft);
  remarkOnUsers(entries, draft);
  if (!entries.some(({ key }) => key === "allow-loopback-peers")) {
    draft.note(
      0,
      "peers that aren't globally routable are denied here unless peers.allow names them; coturn permits what isn't denied",
    );
  }
  const tree = draft.finish();
  return { toml: `# Imported from ${printable(options.name)}\n${writeToml(tree)}`, remarks: draft.remarks };
}

/** Leaves out what nobody knows, and lines that a later one replaces. */
function known(entries: readonly CoturnEntry[], draft: Draft): readonly CoturnEntry[] {
  const names = [...COTURN_KEYS.keys(), ...LISTENER_KEYS];
  const lastOf = new Map(entries.map((entry) => [entry.key, entry]));
  return entries.filter((entry) => {
    const { key, line } = entry;
    if (!names.includes(key)) {
      const near = key.length > MAX_KEY_LENGTH ? undefined : nearest(key, names);
      const hint = near === undefined ? "" : `; did you mean "${near}"?`;
      draft.warn(line, `unknown key "${printable(key)}"${hint}`);
      return false;
    }
    const isRepeatable = COTURN_KEYS.get(key)?.isRepeatable ?? REPEATABLE_LISTENER_KEYS.includes(key);
    const last = lastOf.get(key);
    if (isRepeatable || last === undefined || last === entry) return true;
    if (last.value !== entry.value) draft.warn(line, `${key}: line ${last.line} sets it again, which counts`);
    return false;
  });
}

function translatePrometheus(entries: readonly CoturnEntry[], draft: Draft): void {
  const enabled = entries.find(({ key, value }) => key === "prometheus" && isOn(value));
  if (enabled === undefined) return;
  const valueOf = (name: string): string | undefined => entries.find(({ key }) => key === name)?.value;
  const port = wholeNumber(valueOf("prometheus-port") ?? "") ?? PROMETHEUS_PORT;
  const address = valueOf("prometheus-address") ?? "0.0.0.0";
  const host = address.includes(":") ? `[${address.replaceAll(/[[\]]/g, "")}]` : address;
  draft.set(["telemetry", "metrics"], `${host}:${port}`, enabled.line);
  if (host === "0.0.0.0") {
    draft.warn(enabled.line, "prometheus: everybody who reaches the machine can read the metrics, as with coturn");
  }
}

/** One rule for all of them: clients are sent on in turn. The port may be left out there. */
function translateAlternates(entries: readonly CoturnEntry[], draft: Draft): void {
  const alternates = entries.filter(({ key }) => key === "alternate-server");
  const servers = alternates.flatMap(({ value, line }) => {
    const hasPort = /\]:\d+$/.test(value) || /^[^:]+:\d+$/.test(value);
    const bare = value.replace(/^\[(.*)\]$/, "$1");
    const server = hasPort ? value : `${bare.includes(":") ? `[${bare}]` : bare}:3478`;
    try {
      return [checkRedirectServer(server)];
    } catch {
      draft.warn(line, "alternate-server: left out: it is not an address, or an address and a port");
      return [];
    }
  });
  const [first] = alternates;
  if (first !== undefined && servers.length > 0) draft.add(["redirect", "rule"], { servers }, first.line);
}

function remarkOnUsers(entries: readonly CoturnEntry[], draft: Draft): void {
  const find = (name: string): CoturnEntry | undefined => entries.find(({ key }) => key === name);
  const secret = find("static-auth-secret");
  const users = entries.filter(({ key }) => key === "user");
  const rest = find("use-auth-secret");
  if (rest !== undefined && isOn(rest.value) && secret === undefined) {
    draft.warn(
      rest.line,
      "use-auth-secret: secrets of a database aren't imported: name one by turn.shared_secrets_file",
    );
  }
  const [user] = users;
  if (user !== undefined && (secret !== undefined || (rest !== undefined && isOn(rest.value)))) {
    draft.warn(user.line, "user: coturn serves no static users beside a shared secret; here they are served");
  }
  const keyed = users.find(({ value }) => value.includes(":0x"));
  if (keyed !== undefined && find("realm") === undefined) {
    draft.warn(keyed.line, "user: a stored key is of a realm: set relay.realm to the one that it was made for");
  }
}

const MAX_KEY_LENGTH = 64;

/** Text of a stranger's file for a message or a comment: one short line without control characters. */
function printable(text: string): string {
  // oxlint-disable-next-line no-control-regex
  const clean = text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, "?");
  return clean.length > MAX_KEY_LENGTH ? `${clean.slice(0, MAX_KEY_LENGTH)}…` : clean;
}
