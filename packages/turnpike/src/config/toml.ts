import { getStaticTOMLValue, ParseError, parseTOML, type AST } from "toml-eslint-parser";

/** A place in a text; both count from 1. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** A key as it was written, with its path from the root. */
export interface WrittenKey {
  readonly path: readonly (string | number)[];
  readonly position: Position;
}

/** A TOML text with the places of its keys and values. */
export interface TomlDocument {
  readonly value: unknown;
  /** Every key, once for each path, in the order of the text. */
  readonly keys: readonly WrittenKey[];
  /** Where the value at `path` stands, or the nearest table around it. */
  locate(path: readonly PropertyKey[]): Position;
}

/** The text is not TOML. */
export class TomlSyntaxError extends Error {
  override readonly name = "TomlSyntaxError";
  readonly position: Position;

  constructor(message: string, position: Position) {
    super(message);
    this.position = position;
  }
}

/** Parses TOML 1.0. @throws TomlSyntaxError */
export function parseToml(text: string): TomlDocument {
  const program = parse(text);
  const keys = new Map<string, WrittenKey>();
  const values = new Map<string, Position>();
  for (const node of program.body[0].body) {
    if (node.type === "TOMLTable") {
      recordTable(node, keys, values);
    } else {
      recordKeyValue(node, [], keys, values);
    }
  }
  return {
    value: getStaticTOMLValue(program),
    keys: [...keys.values()],
    locate: (path) => {
      for (let length = path.length; length > 0; length--) {
        const id = identify(path.slice(0, length));
        const position = values.get(id) ?? keys.get(id)?.position;
        if (position !== undefined) return position;
      }
      return { line: 1, column: 1 };
    },
  };
}

function parse(text: string): AST.TOMLProgram {
  try {
    return parseTOML(text, { tomlVersion: "1.0" });
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
    throw new TomlSyntaxError(error.message, { line: error.lineNumber, column: error.column + 1 });
  }
}

type Path = readonly (string | number)[];

function recordTable(table: AST.TOMLTable, keys: Map<string, WrittenKey>, values: Map<string, Position>): void {
  // The resolved key of `[[turn.user]]` ends with an index, which has no key part of its own.
  const names = table.resolvedKey;
  let part = 0;
  for (const [index, name] of names.entries()) {
    const path = names.slice(0, index + 1);
    if (typeof name === "string") {
      const key = table.key.keys[part++];
      if (key !== undefined) recordKey(path, key.loc.start, keys);
    } else {
      recordKey(path, table.loc.start, keys);
    }
  }
  for (const node of table.body) recordKeyValue(node, names, keys, values);
}

function recordKeyValue(
  node: AST.TOMLKeyValue,
  parent: Path,
  keys: Map<string, WrittenKey>,
  values: Map<string, Position>,
): void {
  let path = parent;
  for (const key of node.key.keys) {
    path = [...path, key.type === "TOMLBare" ? key.name : key.value];
    recordKey(path, key.loc.start, keys);
  }
  recordValue(node.value, path, keys, values);
}

function recordValue(
  node: AST.TOMLContentNode,
  path: Path,
  keys: Map<string, WrittenKey>,
  values: Map<string, Position>,
): void {
  values.set(identify(path), toPosition(node.loc.start));
  if (node.type === "TOMLArray") {
    for (const [index, element] of node.elements.entries()) recordValue(element, [...path, index], keys, values);
  } else if (node.type === "TOMLInlineTable") {
    for (const entry of node.body) recordKeyValue(entry, path, keys, values);
  }
}

function recordKey(path: Path, start: AST.Position, keys: Map<string, WrittenKey>): void {
  const id = identify(path);
  if (!keys.has(id)) keys.set(id, { path, position: toPosition(start) });
}

function toPosition(start: AST.Position): Position {
  return { line: start.line, column: start.column + 1 };
}

function identify(path: readonly PropertyKey[]): string {
  return JSON.stringify(path);
}
