import { formatSource, type EffectiveValue, type LoadedConfiguration } from "./load.ts";

const SECRET_MASK = "********";

/** The configuration in force as TOML, each value with its source behind it; secrets are masked. */
export function formatEffective(loaded: LoadedConfiguration): string {
  const tables = new Map<string, string[]>();
  for (const [name, values] of byKey(loaded)) {
    const table = name.slice(0, name.indexOf("."));
    const lines = tables.get(table) ?? [];
    tables.set(table, lines);
    lines.push(...linesOf(name.slice(table.length + 1), values));
  }
  return [...tables].map(([table, lines]) => [`[${table}]`, ...lines].join("\n")).join("\n\n");
}

/** Values by their key's name; those of a fixed list stand together. */
function byKey(loaded: LoadedConfiguration): Map<string, EffectiveValue[]> {
  const groups = new Map<string, EffectiveValue[]>();
  for (const value of loaded.values) {
    const name = value.key.path.filter((part) => typeof part === "string").join(".");
    groups.set(name, [...(groups.get(name) ?? []), value]);
  }
  return groups;
}

function linesOf(name: string, values: readonly EffectiveValue[]): readonly string[] {
  const [first] = values;
  if (first === undefined) return [];
  if (typeof first.key.path.at(-1) === "number") {
    const sources = new Set(values.map(({ source }) => formatSource(source)));
    return [`${name} = ${toToml(values.map(({ value }) => value))}  # ${[...sources].join(", ")}`];
  }
  const source = formatSource(first.source);
  if (first.value === undefined) {
    return [`# ${name}: ${first.key.setting.defaultText?.replaceAll("`", "") ?? "not set"}`];
  }
  return [`${name} = ${toToml(masked(first))}  # ${source}`];
}

function masked({ key, value }: EffectiveValue): unknown {
  if (key.kind === "tableList" && Array.isArray(value)) {
    const hidden = new Set(key.fields?.filter(({ setting }) => setting.secret === true).map(({ name }) => name));
    return value.map((entry: Readonly<Record<string, unknown>>) =>
      Object.fromEntries(Object.entries(entry).map(([name, field]) => [name, hidden.has(name) ? SECRET_MASK : field])),
    );
  }
  if (key.setting.secret !== true) return value;
  return Array.isArray(value) ? value.map(() => SECRET_MASK) : SECRET_MASK;
}

/** A value on one line of TOML; JSON's strings and numbers are TOML's too. */
function toToml(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(toToml).join(", ")}]`;
  if (typeof value === "object" && value !== null) {
    return `{ ${Object.entries(value)
      .map(([name, field]) => `${name} = ${toToml(field)}`)
      .join(", ")} }`;
  }
  return JSON.stringify(value).replaceAll("\u007f", "\\u007f");
}
