import { z } from "zod";

/** What is known of a configuration key besides its type: its flag, its help, how text becomes its value. */
export interface Setting {
  /** The flag with its dashes. Its environment variable is {@link environmentVariable} of it. */
  readonly flag?: `--${string}`;
  /** What stands behind the flag in the help: `SPEC`, `IP`. */
  readonly value?: string;
  /** One sentence for `--help` and the reference page, without a full stop. */
  readonly description: string;
  /** Says the default in words, where the value alone does not. */
  readonly defaultText?: string;
  /** Never shown by `config print`, logs or errors. */
  readonly secret?: true;
  /** Makes the value as TOML would give it from one flag's or variable's text. Default: by the key's type. */
  readonly fromText?: (text: string) => unknown;
  /** Variables of other relays that mean the same. The flag's own variable wins over them. Of a list: one item each. */
  readonly aliases?: readonly string[];
  /** Makes the texts of a flag of those that the aliases have. Default: they are the same. */
  readonly fromAliases?: (texts: readonly string[]) => readonly string[];
}

/** Every key of the configuration, registered where the schema declares it. */
export const settings: z.core.$ZodRegistry<Setting> = z.registry<Setting>();

/** A key of the configuration, found in the schema. */
export interface ConfigurationKey {
  /** From the root: names of tables and keys, or indexes into a fixed list. */
  readonly path: readonly (string | number)[];
  readonly setting: Setting;
  readonly kind: "text" | "integer" | "number" | "boolean" | "choice" | "textList" | "tableList";
  readonly choices?: readonly string[];
  /** As TOML would write it; absent if there is none. */
  readonly defaultValue?: unknown;
  /** For `tableList`: the keys of one table. */
  readonly fields?: readonly { readonly name: string; readonly setting: Setting }[];
}

/** `--shared-secret` → `TURNPIKE_SHARED_SECRET`. */
export function environmentVariable(flag: string): string {
  return `TURNPIKE_${flag.slice(2).toUpperCase().replaceAll("-", "_")}`;
}

/** The key as people write it: `relay.port_range[0]`. */
export function keyName(path: readonly PropertyKey[]): string {
  return path
    .map((part, index) => (typeof part === "number" ? `[${part}]` : `${index === 0 ? "" : "."}${String(part)}`))
    .join("");
}

/** All keys that `schema` declares, in its order. */
export function configurationKeys(schema: z.ZodObject): readonly ConfigurationKey[] {
  return collect(schema, []);
}

/** The names that may stand in the table at `path`, or undefined if there is no table. */
export function namesAt(schema: z.ZodType, path: readonly PropertyKey[]): readonly string[] | undefined {
  let { inner } = unwrap(schema);
  for (const part of path) {
    if (inner instanceof z.ZodObject) {
      const next: z.ZodType | undefined = Object.hasOwn(inner.shape, part) ? inner.shape[String(part)] : undefined;
      if (next === undefined) return undefined;
      inner = unwrap(next).inner;
    } else if (inner instanceof z.ZodArray && typeof part === "number") {
      inner = unwrap(schemaOf(inner.element)).inner;
    } else {
      return undefined;
    }
  }
  return inner instanceof z.ZodObject ? Object.keys(inner.shape) : undefined;
}

function collect(schema: z.ZodType, path: readonly (string | number)[]): ConfigurationKey[] {
  const { inner, defaultValue } = unwrap(schema);
  const setting = settings.get(schema);
  if (setting !== undefined) {
    return [{ path, setting, ...shapeOf(inner), ...(defaultValue === undefined ? {} : { defaultValue }) }];
  }
  if (inner instanceof z.ZodObject) {
    return Object.entries(inner.shape).flatMap(([name, child]) => collect(schemaOf(child), [...path, name]));
  }
  if (inner instanceof z.ZodTuple) {
    return inner.def.items.flatMap((child, index) => collect(schemaOf(child), [...path, index]));
  }
  throw new TypeError(`${keyName(path)} is not registered as a setting`);
}

function shapeOf(inner: z.ZodType): Pick<ConfigurationKey, "kind" | "choices" | "fields"> {
  if (inner instanceof z.ZodNumberFormat) return { kind: "integer" };
  if (inner instanceof z.ZodNumber) return { kind: "number" };
  if (inner instanceof z.ZodBoolean) return { kind: "boolean" };
  // A word in place of a list: the list is what flags make.
  if (inner instanceof z.ZodUnion && inner.options.some((option) => option instanceof z.ZodArray)) {
    return { kind: "textList" };
  }
  if (inner instanceof z.ZodEnum) return { kind: "choice", choices: inner.options.map(String) };
  if (inner instanceof z.ZodLiteral) return { kind: "choice", choices: [...inner.values].map(String) };
  if (inner instanceof z.ZodArray) {
    const element = unwrap(schemaOf(inner.element)).inner;
    if (!(element instanceof z.ZodObject)) return { kind: "textList" };
    const fields = Object.entries(element.shape).map(([name, field]) => {
      const setting = settings.get(schemaOf(field));
      if (setting === undefined) throw new TypeError(`${name} is not registered as a setting`);
      return { name, setting };
    });
    return { kind: "tableList", fields };
  }
  return { kind: "text" };
}

function unwrap(schema: z.ZodType): { readonly inner: z.ZodType; readonly defaultValue?: unknown } {
  let inner = schema;
  let defaultValue: unknown;
  for (;;) {
    if (inner instanceof z.ZodPrefault) {
      defaultValue ??= inner.def.defaultValue;
      inner = schemaOf(inner.def.innerType);
    } else if (inner instanceof z.ZodOptional) {
      inner = schemaOf(inner.def.innerType);
    } else if (inner instanceof z.ZodPipe) {
      inner = schemaOf(inner.def.in);
    } else {
      return { inner, ...(defaultValue === undefined ? {} : { defaultValue }) };
    }
  }
}

function schemaOf(value: unknown): z.ZodType {
  if (!(value instanceof z.ZodType)) throw new TypeError("the configuration's schema has a part that is no schema");
  return value;
}
