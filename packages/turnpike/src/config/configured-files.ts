import { dirname, isAbsolute, join } from "node:path";
import { ConfigurationError, type Problem } from "../errors.ts";
import type { LoadedConfiguration } from "./load.ts";
import { keyName } from "./setting.ts";

/** How files are read, and what is said of an error. */
export interface FileReading {
  readonly readFile: (path: string) => string;
  readonly reasonOf: (error: unknown) => string;
}

type KeyPath = readonly (string | number)[];

/** The files that a configuration names. What is wrong with them is collected, and told together. */
export class ConfiguredFiles {
  readonly #loaded: LoadedConfiguration;
  readonly #reading: FileReading;
  readonly #problems: Problem[] = [];

  constructor(loaded: LoadedConfiguration, reading: FileReading) {
    this.#loaded = loaded;
    this.#reading = reading;
  }

  /** A relative path is relative to the file that names it, or to the working directory for flags and variables. */
  pathOf(path: string, key: KeyPath): string {
    const found = this.#loaded.values.find((value) => value.key.path.every((part, index) => part === key[index]));
    const source = found?.source ?? { kind: "default" };
    return source.kind === "file" && !isAbsolute(path) ? join(dirname(source.name), path) : path;
  }

  /** The whole of a file; `""` if it can't be read. */
  text(path: string, key: KeyPath): string {
    const full = this.pathOf(path, key);
    try {
      const text = this.#reading.readFile(full);
      if (text.trim() === "") this.problem(key, `${full} is empty`);
      return text;
    } catch (error) {
      this.problem(key, `${full} can't be read: ${this.#reading.reasonOf(error)}`);
      return "";
    }
  }

  /** Its lines that aren't empty. */
  lines(path: string, key: KeyPath): readonly string[] {
    return this.text(path, key)
      .split(/\r?\n/)
      .filter((line) => line !== "");
  }

  /** Something else is wrong with what a key says. */
  problem(key: KeyPath, message: string): void {
    this.#problems.push({ where: this.#loaded.placeOf(key), message: `${keyName(key)}: ${message}` });
  }

  /** @throws ConfigurationError if something was wrong */
  check(): void {
    if (this.#problems.length > 0) throw new ConfigurationError(this.#problems);
  }
}
