import { ConfigurationError, type Problem } from "../errors.ts";
import { describeIssue } from "./issues.ts";
import { nearest } from "./nearest.ts";
import { configurationSchema, type Configuration } from "./schema.ts";
import { configurationKeys, environmentVariable, keyName, namesAt, type ConfigurationKey } from "./setting.ts";
import { isContainer, valueAt } from "./tree.ts";
import { parseToml, TomlSyntaxError, type TomlDocument } from "./toml.ts";
import { InvalidValueError } from "./values.ts";

/** A configuration file that was read. */
export interface ConfigurationFile {
  /** As messages name it. */
  readonly name: string;
  readonly text: string;
}

/** Everything that a configuration is made from. */
export interface ConfigurationInput {
  readonly file?: ConfigurationFile;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** By flag with its dashes: the texts given, in their order. */
  readonly flags: ReadonlyMap<string, readonly string[]>;
}

/** Where a value comes from. */
export type Source =
  | { readonly kind: "flag"; readonly flag: string }
  | { readonly kind: "environment"; readonly variable: string }
  | { readonly kind: "file"; readonly name: string; readonly line: number; readonly column: number }
  | { readonly kind: "default" };

/** A key with the value in force, as TOML would write it, and where it comes from. */
export interface EffectiveValue {
  readonly key: ConfigurationKey;
  /** Undefined if nothing sets it and it has no default. */
  readonly value: unknown;
  readonly source: Source;
}

/** A checked configuration with the origin of its values. */
export interface LoadedConfiguration {
  readonly configuration: Configuration;
  readonly values: readonly EffectiveValue[];
  /** Names the place of the value at `path`, for messages. */
  readonly placeOf: (path: readonly PropertyKey[]) => string;
}

/** The variable that names the configuration file. */
export const CONFIG_VARIABLE = "TURNPIKE_CONFIG";

/** The keys of {@link Configuration} in the order of the schema. */
export const KEYS: readonly ConfigurationKey[] = configurationKeys(configurationSchema);

/**
 * Lays flags over environment over file over defaults, and checks the whole.
 *
 * @throws ConfigurationError with every problem found.
 */
export function loadConfiguration(input: ConfigurationInput): LoadedConfiguration {
  const problems: Problem[] = [];
  const document = input.file === undefined ? undefined : readDocument(input.file, problems);
  problems.push(...unknownVariables(input.environment));
  const layered = KEYS.map((key) => pick(key, input, document, problems));
  const tree = treeOf(document, layered);
  const parsed = configurationSchema.safeParse(tree);
  if (!parsed.success) {
    for (const issue of parsed.error.issues) {
      // Unknown keys are found in the text, where they have a place.
      if (issue.code === "unrecognized_keys") continue;
      problems.push({ where: placeOf(issue.path, layered, input, document), message: describeIssue(issue, tree) });
    }
  }
  if (problems.length > 0 || !parsed.success) throw new ConfigurationError(problems);
  return { configuration: parsed.data, values: layered, placeOf: (path) => placeOf(path, layered, input, document) };
}

/** `turnpike.toml:3:1`, `--realm`, `TURNPIKE_REALM` or `default`. */
export function formatSource(source: Source): string {
  switch (source.kind) {
    case "flag":
      return source.flag;
    case "environment":
      return source.variable;
    case "file":
      return `${source.name}:${source.line}:${source.column}`;
    case "default":
      return "default";
  }
}

function readDocument(file: ConfigurationFile, problems: Problem[]): TomlDocument {
  let document: TomlDocument;
  try {
    document = parseToml(file.text);
  } catch (error) {
    if (!(error instanceof TomlSyntaxError)) throw error;
    const { line, column } = error.position;
    throw new ConfigurationError([{ where: `${file.name}:${line}:${column}`, message: `not TOML: ${error.message}` }]);
  }
  const dotted = KEYS.map(({ path }) => keyName(path.filter((part) => typeof part === "string")));
  for (const { path, position } of document.keys) {
    const name = path.at(-1);
    const names = namesAt(configurationSchema, path.slice(0, -1));
    if (typeof name !== "string" || names === undefined || names.includes(name)) continue;
    const near = nearest(name, names) ?? nearest(keyName(path), dotted);
    const table = path.length === 1 ? "at the top" : `in ${keyName(path.slice(0, -1))}`;
    const hint = near === undefined ? `known ${table}: ${names.join(", ")}` : `did you mean "${near}"?`;
    problems.push({
      where: `${file.name}:${position.line}:${position.column}`,
      message: `unknown key "${keyName(path)}"; ${hint}`,
    });
  }
  return document;
}

/** The highest layer that sets a key. */
function pick(
  key: ConfigurationKey,
  input: ConfigurationInput,
  document: TomlDocument | undefined,
  problems: Problem[],
): EffectiveValue {
  const { flag } = key.setting;
  if (flag !== undefined) {
    const texts = input.flags.get(flag);
    if (texts !== undefined && texts.length > 0) {
      return { key, value: fromTexts(key, texts, flag, problems), source: { kind: "flag", flag } };
    }
    const variable = environmentVariable(flag);
    const text = input.environment[variable];
    // An empty variable is an unset one: that is how compose files pass on what nobody set.
    if (text !== undefined && text !== "") {
      const value = fromTexts(key, splitVariable(key, text), variable, problems);
      return { key, value, source: { kind: "environment", variable } };
    }
  }
  const alias = fromAliases(key, input.environment, problems);
  if (alias !== undefined) return alias;
  const written = valueAt(document?.value, key.path);
  if (document !== undefined && input.file !== undefined && written !== undefined) {
    return { key, value: written, source: { kind: "file", name: input.file.name, ...document.locate(key.path) } };
  }
  return { key, value: key.defaultValue, source: { kind: "default" } };
}

/** What variables of other relays say. */
function fromAliases(
  key: ConfigurationKey,
  environment: ConfigurationInput["environment"],
  problems: Problem[],
): EffectiveValue | undefined {
  const { aliases = [], fromAliases: convert = (texts) => texts } = key.setting;
  const set = aliases.flatMap((variable) => {
    const text = environment[variable]?.trim();
    return text === undefined || text === "" ? [] : [{ variable, text }];
  });
  const [first] = set;
  if (first === undefined) return undefined;
  const variable = set.map((each) => each.variable).join(", ");
  const source = { kind: "environment", variable } as const;
  try {
    const texts = convert(set.map(({ text }) => text));
    return { key, value: fromTexts(key, texts, variable, problems), source };
  } catch (error) {
    if (!(error instanceof InvalidValueError)) throw error;
    problems.push({ where: variable, message: error.message });
    return { key, value: key.defaultValue, source };
  }
}

function fromTexts(key: ConfigurationKey, texts: readonly string[], where: string, problems: Problem[]): unknown {
  try {
    const values = texts.map(key.setting.fromText ?? ((text) => text));
    if (key.kind === "textList" || key.kind === "tableList") return values;
    return typed(key.kind, values.at(-1));
  } catch (error) {
    if (!(error instanceof InvalidValueError)) throw error;
    problems.push({ where, message: error.message });
    return key.defaultValue;
  }
}

/** The text of a flag or variable as TOML would have it; what doesn't fit stays text, for the check to complain of. */
function typed(kind: ConfigurationKey["kind"], value: unknown): unknown {
  if (typeof value !== "string") return value;
  if (kind === "integer" && /^[+-]?\d{1,15}$/.test(value)) return Number(value);
  if (kind === "number" && /^[+-]?\d{1,15}(?:\.\d{1,15})?$/.test(value)) return Number(value);
  if (kind === "boolean" && (value === "true" || value === "false")) return value === "true";
  return value;
}

/** Lists in one variable: one item a line, or divided by commas unless the items are secrets. */
function splitVariable(key: ConfigurationKey, text: string): readonly string[] {
  if (key.kind !== "textList" && key.kind !== "tableList") return [text];
  const byLine = key.setting.secret === true || text.includes("\n");
  return text
    .split(byLine ? "\n" : ",")
    .map((item) => item.trim())
    .filter((item) => item !== "");
}

/** Docker and Kubernetes set variables for services that are named `turnpike…`: they aren't meant for the command. */
const SERVICE_LINK = /_SERVICE_(?:HOST|PORT)(?:_[A-Z0-9_]+)?$|_PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?$/;

function unknownVariables(environment: ConfigurationInput["environment"]): Problem[] {
  const known = KEYS.flatMap(({ setting }) => (setting.flag === undefined ? [] : [environmentVariable(setting.flag)]));
  known.push(CONFIG_VARIABLE);
  return Object.entries(environment).flatMap(([name, value]) => {
    const isOurs = name.startsWith("TURNPIKE_") && !known.includes(name) && value !== undefined && value !== "";
    const isLink = SERVICE_LINK.test(name) || (name.endsWith("_PORT") && /^(?:tcp|udp):\/\//.test(value ?? ""));
    if (!isOurs || isLink) return [];
    const near = nearest(name, known);
    const hint = near === undefined ? "unset it, or see the reference of the configuration" : `did you mean ${near}?`;
    return [{ where: name, message: `unknown environment variable; ${hint}` }];
  });
}

/** What is checked: the file's tree with the values of the layers above it, and the defaults below. */
function treeOf(document: TomlDocument | undefined, layered: readonly EffectiveValue[]): unknown {
  const tree: unknown = document === undefined ? {} : structuredClone(document.value);
  for (const { key, value, source } of layered) {
    if (source.kind === "file" || value === undefined) continue;
    let at: unknown = tree;
    for (const [index, part] of key.path.slice(0, -1).entries()) {
      if (!isContainer(at)) break;
      at[part] ??= typeof key.path[index + 1] === "number" ? [] : {};
      at = at[part];
    }
    const last = key.path.at(-1);
    if (isContainer(at) && last !== undefined) at[last] = value;
  }
  return tree;
}

function placeOf(
  path: readonly PropertyKey[],
  layered: readonly EffectiveValue[],
  input: ConfigurationInput,
  document: TomlDocument | undefined,
): string {
  const concerned = layered.filter(({ key }) => key.path.every((part, i) => i >= path.length || part === path[i]));
  const named = concerned.find(({ source }) => source.kind === "flag" || source.kind === "environment");
  if (named !== undefined) return formatSource(named.source);
  if (input.file === undefined || document === undefined) return "configuration";
  const { line, column } = document.locate(path);
  return `${input.file.name}:${line}:${column}`;
}
