import { describeIssue } from "../config/issues.ts";
import { configurationSchema } from "../config/schema.ts";

/** Something to say of a line. */
export interface Remark {
  /** `warning`: something that was in force there isn't here. `note`: nothing is lost. */
  readonly level: "warning" | "note";
  /** Counts from 1; 0 if it is of no line in particular. */
  readonly line: number;
  readonly message: string;
}

type Path = readonly (string | number)[];

interface DraftSetting {
  readonly path: Path;
  /** Of a list: one item of several. */
  readonly isItem: boolean;
  readonly value: unknown;
  readonly line: number;
}

/** A configuration in the making, which knows the line that each value comes from. */
export class Draft {
  readonly #remarks: Remark[] = [];
  #settings: DraftSetting[] = [];

  get remarks(): readonly Remark[] {
    return this.#remarks.toSorted((a, b) => a.line - b.line);
  }

  /** Sets a key; what it was set to before is forgotten. */
  set(path: Path, value: unknown, line: number): void {
    const id = JSON.stringify(path);
    this.#settings = this.#settings.filter((setting) => JSON.stringify(setting.path) !== id);
    this.#settings.push({ path, value, line, isItem: false });
  }

  /** Adds an item to a list. */
  add(path: Path, value: unknown, line: number): void {
    this.#settings.push({ path, value, line, isItem: true });
  }

  warn(line: number, message: string): void {
    this.#remarks.push({ level: "warning", line, message });
  }

  note(line: number, message: string): void {
    this.#remarks.push({ level: "note", line, message });
  }

  /** The tree that the schema accepts. What it doesn't is left out, with a warning for its line. */
  finish(): Readonly<Record<string, unknown>> {
    for (;;) {
      const { tree, placed } = this.#build();
      const checked = configurationSchema.safeParse(tree);
      if (checked.success) return tree;
      const wrong = new Set<DraftSetting>();
      for (const issue of checked.error.issues) {
        const concerned = placed.filter(({ path }) => isPrefix(path, issue.path) || isPrefix(issue.path, path));
        const [first] = concerned;
        if (first === undefined || wrong.has(first.setting)) continue;
        this.warn(first.setting.line, `left out: ${describeIssue(issue, tree)}`);
        for (const { setting } of concerned) wrong.add(setting);
      }
      if (wrong.size === 0) throw checked.error;
      this.#settings = this.#settings.filter((setting) => !wrong.has(setting));
    }
  }

  #build(): {
    readonly tree: Readonly<Record<string, unknown>>;
    readonly placed: readonly { readonly path: Path; readonly setting: DraftSetting }[];
  } {
    // In the order of the schema, as the reference page has them.
    const tables = new Set(this.#settings.map(({ path }) => path[0]));
    const names = Object.keys(configurationSchema.shape).filter((name) => tables.has(name));
    const tree: Container = Object.fromEntries(names.map((name) => [name, {}]));
    const placed = this.#settings.map((setting) => {
      let at = tree;
      for (const [index, part] of setting.path.slice(0, -1).entries()) {
        const isRange = typeof setting.path[index + 1] === "number";
        at[part] ??= isRange ? [...DEFAULT_PORTS] : {};
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- made by the line before
        at = at[part] as Container;
      }
      const last = setting.path.at(-1) ?? "";
      if (!setting.isItem) {
        at[last] = setting.value;
        return { path: setting.path, setting };
      }
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- items stand in lists alone
      const list = (at[last] ??= []) as unknown[];
      list.push(setting.value);
      return { path: [...setting.path, list.length - 1], setting };
    });
    return { tree, placed };
  }
}

type Container = Record<PropertyKey, unknown>;

/** `relay.port_range` is the one pair whose halves have keys of their own. */
const DEFAULT_PORTS = [49_152, 65_535] as const;

function isPrefix(prefix: readonly PropertyKey[], path: readonly PropertyKey[]): boolean {
  return prefix.every((part, index) => part === path[index]);
}
