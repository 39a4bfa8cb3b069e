import { styleText } from "node:util";
import { pino, type Logger } from "pino";

export type { Logger } from "pino";

/** What is written where a value was removed from a log line. */
const CENSOR = "********";

/** Names under which secrets travel: censored wherever they stand in a log line, two levels deep. */
const SECRET_NAMES = ["password", "credential", "secret", "sharedSecret", "key", "token", "nonceKey", "authorization"];

/** How and where a log is written. */
export interface LogOptions {
  readonly level: "trace" | "debug" | "info" | "warn" | "error" | "silent";
  readonly format: "pretty" | "json";
  /** Only for `pretty`. */
  readonly colors: boolean;
  /** Takes whole lines, each with its line break. */
  readonly write: (line: string) => void;
}

/** Makes the log of a process: one JSON object a line, or one line for people. */
export function createLogger(options: LogOptions): Logger {
  const write =
    options.format === "json" ? options.write : (line: string) => options.write(prettyLine(line, options.colors));
  return pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: SECRET_NAMES.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]), censor: CENSOR },
    },
    { write },
  );
}

const COLORS: ReadonlyMap<string, "gray" | "yellow" | "red"> = new Map([
  ["trace", "gray"],
  ["debug", "gray"],
  ["warn", "yellow"],
  ["error", "red"],
  ["fatal", "red"],
]);

/** `12:34:56.789 info  message key=value …`, and the stack of an error below it. */
function prettyLine(json: string, colors: boolean): string {
  const { level, time, msg, err, ...rest } = toRecord(JSON.parse(json));
  const paint = (format: Parameters<typeof styleText>[0], text: string) =>
    colors ? styleText(format, text, { validateStream: false }) : text;
  const name = typeof level === "string" ? level : "";
  const color = COLORS.get(name) ?? "green";
  const fields = Object.entries(rest).map(([key, value]) => `${paint("dim", `${key}=`)}${fieldText(value)}`);
  const head = [paint("dim", String(time).slice(11, 23)), paint(color, name.padEnd(5)), fieldText(msg), ...fields];
  return `${head.join(" ")}\n${stackOf(err)}`;
}

/** Strings stand bare; what could end the line or move the cursor is escaped. */
function fieldText(value: unknown): string {
  const text = typeof value === "string" ? value : (JSON.stringify(value) ?? "");
  // oxlint-disable-next-line no-control-regex
  return /[\u0000-\u001f\u007f-\u009f]/.test(text) ? JSON.stringify(text).slice(1, -1) : text;
}

function stackOf(error: unknown): string {
  const { stack, message } = toRecord(error);
  const text = typeof stack === "string" ? stack : typeof message === "string" ? message : "";
  return text === "" ? "" : `${text.replaceAll(/^/gm, "    ")}\n`;
}

function toRecord(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? { ...value } : {};
}
