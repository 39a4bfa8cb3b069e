import type { Logger } from "../logger.ts";

/** Keeps what is logged, one JSON line each. */
export class RecordingLogger implements Logger {
  readonly lines: { readonly level: string; readonly message: string; readonly text: string }[] = [];

  debug: Logger["debug"] = (fields, message) => this.#add("debug", fields, message);
  info: Logger["info"] = (fields, message) => this.#add("info", fields, message);
  warn: Logger["warn"] = (fields, message) => this.#add("warn", fields, message);
  error: Logger["error"] = (fields, message) => this.#add("error", fields, message);

  /** Messages of one level. */
  messages(level: string): readonly string[] {
    return this.lines.filter((line) => line.level === level).map(({ message }) => message);
  }

  #add(level: string, fields: Readonly<Record<string, unknown>>, message: string): void {
    this.lines.push({ level, message, text: JSON.stringify({ ...fields, message }) });
  }
}
