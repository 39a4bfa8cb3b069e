/** Writes a tree of tables, lists and plain values as TOML: tables below their headings, a long list item by item. */
export function writeToml(tree: Readonly<Record<string, unknown>>): string {
  return Object.entries(tree)
    .flatMap(([name, table]) => (isTable(table) ? section([name], table) : []))
    .map((block) => `\n${block}\n`)
    .join("");
}

type Table = Readonly<Record<string, unknown>>;

/** A table, then the lists of tables in it. */
function section(path: readonly string[], table: Table): readonly string[] {
  const plain: string[] = [];
  const below: string[] = [];
  for (const [name, value] of Object.entries(table)) {
    if (Array.isArray(value) && value.length > 0 && value.every(isTable)) {
      for (const entry of value) below.push(block(`[[${[...path, name].join(".")}]]`, entry));
    } else if (isTable(value)) {
      below.push(...section([...path, name], value));
    } else {
      plain.push(`${name} = ${inline(value)}`);
    }
  }
  return plain.length === 0 ? below : [[`[${path.join(".")}]`, ...plain].join("\n"), ...below];
}

function block(heading: string, table: Table): string {
  return [heading, ...Object.entries(table).map(([name, value]) => `${name} = ${inline(value)}`)].join("\n");
}

const LONG_LIST = 80;

function inline(value: unknown): string {
  if (!Array.isArray(value)) return quoted(value);
  const items = value.map(quoted);
  const short = `[${items.join(", ")}]`;
  return short.length <= LONG_LIST ? short : `[\n${items.map((text) => `  ${text},\n`).join("")}]`;
}

/** JSON's strings and numbers are TOML's too, but for DEL and lone surrogates, which no TOML file can hold. */
function quoted(value: unknown): string {
  const plain = typeof value === "string" ? value.toWellFormed() : value;
  return JSON.stringify(plain).replaceAll("\u007f", "\\u007f");
}

function isTable(value: unknown): value is Table {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
