import { KEYS } from "./load.ts";
import { environmentVariable, type ConfigurationKey } from "./setting.ts";

/** The reference page of the configuration, as Markdown. */
export function configurationReference(): string {
  const tables = new Map<string, ConfigurationKey[]>();
  for (const key of KEYS) {
    const table = String(key.path[0]);
    tables.set(table, [...(tables.get(table) ?? []), key]);
  }
  return [INTRODUCTION, ...[...tables].map(([table, keys]) => section(table, keys))].join("\n\n") + "\n";
}

const INTRODUCTION = `# Configuration

<!-- Made from the schema by \`npm run docs\`: change packages/turnpike/src/config/schema.ts instead. -->

\`turnpike.toml\` in the working directory is read if it is there; \`--config FILE\` or \`TURNPIKE_CONFIG\` names another.
Every key is also a flag and an environment variable. Flags win over variables, variables over the file, the file over
the defaults; a list is replaced as a whole.

- \`turnpike config check [FILE]\` checks a file; \`turnpike config print\` shows what is in force and where it comes from.
- An unknown key or a malformed value stops the start: every problem is named with file, line and column.
- A flag that takes a list is given once for each item. In a variable, items are divided by commas or line breaks; lists
  of secrets by line breaks only. An empty variable counts as unset.
- A \`*_file\` key reads the secret from a file. Its path is relative to the configuration file that names it; in a flag or
  variable, to the working directory.`;

function section(table: string, keys: readonly ConfigurationKey[]): string {
  const rows = keys.map((key) => row([keyCell(key), flagCell(key), typeOf(key), defaultOf(key), sentence(key)]));
  const head = [
    row(["key", "flag and variable", "value", "default", "meaning"]),
    row(["---", "---", "---", "---", "---"]),
  ];
  const fields = keys.filter(({ fields }) => fields !== undefined).map(fieldTable);
  return [`## \`[${table}]\``, [...head, ...rows].join("\n"), ...fields].join("\n\n");
}

function fieldTable(key: ConfigurationKey): string {
  const rows = (key.fields ?? []).map(({ name, setting }) =>
    row([`\`${name}\``, escapeCell(`${capital(setting.description)}.`)]),
  );
  return [`Each \`[[${key.path.join(".")}]]\` has:\n`, row(["key", "meaning"]), row(["---", "---"]), ...rows].join(
    "\n",
  );
}

function keyCell(key: ConfigurationKey): string {
  const index = key.path.at(-1);
  const name = key.path.slice(1).filter((part) => typeof part === "string");
  return `\`${name.join(".")}\`${typeof index === "number" ? ` [${index}]` : ""}`;
}

function flagCell({ setting, kind }: ConfigurationKey): string {
  if (setting.flag === undefined) return "";
  const repeat = kind === "textList" || kind === "tableList" ? " (repeat)" : "";
  const value = setting.value === undefined ? "" : ` ${setting.value}`;
  return `\`${setting.flag}${value}\`${repeat} \`${environmentVariable(setting.flag)}\``;
}

const TYPES = {
  integer: "whole number",
  number: "number",
  boolean: "`true` or `false`",
  text: "text",
  textList: "list of text",
  tableList: "tables",
} as const;

function typeOf(key: ConfigurationKey): string {
  return key.kind === "choice" ? (key.choices ?? []).map((choice) => `\`${choice}\``).join(" ") : TYPES[key.kind];
}

function defaultOf(key: ConfigurationKey): string {
  if (key.setting.defaultText !== undefined) return escapeCell(key.setting.defaultText);
  const { defaultValue } = key;
  const isNothing = defaultValue === undefined || (Array.isArray(defaultValue) && defaultValue.length === 0);
  return isNothing ? "none" : `\`${JSON.stringify(defaultValue)}\``;
}

function sentence({ setting: { description, aliases = [] } }: ConfigurationKey): string {
  const also = aliases.length === 0 ? "" : ` Also read: ${aliases.map((name) => `\`${name}\``).join(", ")}.`;
  return escapeCell(`${capital(description)}.${also}`);
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function row(cells: readonly string[]): string {
  return `| ${cells.join(" | ")} |`;
}

function escapeCell(text: string): string {
  return text.replaceAll("|", "\\|");
}
