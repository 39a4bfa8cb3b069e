/** Whether a value of a parsed TOML text has parts: a table or a list. */
export function isContainer(value: unknown): value is Record<PropertyKey, unknown> {
  return typeof value === "object" && value !== null && !(value instanceof Date);
}

/** The value at `path`, or undefined. Only what was written counts, nothing inherited. */
export function valueAt(tree: unknown, path: readonly PropertyKey[]): unknown {
  let at = tree;
  for (const part of path) {
    if (!isContainer(at) || !Object.hasOwn(at, part)) return undefined;
    at = at[part];
  }
  return at;
}
