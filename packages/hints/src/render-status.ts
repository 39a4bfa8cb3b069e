import { styleText } from "node:util";
import { printable } from "./hint-error.ts";
import type { HintState, HintStatus } from "./status.ts";

/** How statuses are drawn. */
export interface RenderOptions {
  /** ANSI colours. Default false. */
  readonly color?: boolean;
  /** Width to keep to, in columns. Default 100; at least 40. */
  readonly width?: number;
}

const marks: Readonly<Record<HintState, string>> = {
  waiting: "·",
  resolving: "?",
  connecting: "→",
  negotiating: "⇄",
  won: "✓",
  abandoned: "-",
  failed: "✗",
  ignored: "!",
};

/** Draws hints as text for a terminal: mark, hint, state, time, and what there is to say, below if it needs the room. */
export function renderStatuses(statuses: readonly HintStatus[], options: RenderOptions = {}): string {
  const width = Math.max(40, options.width ?? 100);
  const longest = Math.max(4, ...statuses.map((status) => status.hint.length));
  const hintWidth = Math.min(longest, Math.floor(width * 0.45));
  return statuses
    .map((status) => {
      const hint = shorten(printable(status.hint, 300), hintWidth).padEnd(hintWidth);
      const head = `${marks[status.state]} ${hint}  ${status.state.padEnd(11)} ${renderTime(status).padStart(8)}`;
      const text = remark(status);
      const oneLine = `${head}  ${text}`.trimEnd();
      const below = wrap(text, width - indent.length).map((line) => `${indent}${line}`);
      const lines = oneLine.length <= width ? [oneLine] : [shorten(head.trimEnd(), width), ...below];
      return lines.map((line) => (options.color === true ? colour(line, status.state) : line)).join("\n");
    })
    .join("\n");
}

const indent = "    ";

/** Breaks text at spaces where it can. */
function wrap(text: string, width: number): readonly string[] {
  const lines: string[] = [];
  for (let rest = text; rest !== "";) {
    const space = rest.length <= width ? rest.length : rest.lastIndexOf(" ", width);
    const end = space > 0 ? space : width;
    lines.push(rest.slice(0, end));
    rest = rest.slice(end).trimStart();
  }
  return lines;
}

function renderTime({ timings }: HintStatus): string {
  const { settledAt, addedAt } = timings;
  if (settledAt === undefined) return "";
  const milliseconds = Math.round(settledAt - addedAt);
  return milliseconds < 10_000 ? `${milliseconds} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}

function remark(status: HintStatus): string {
  const { state, failure, address, detail } = status;
  const where = address === undefined ? "" : address;
  if (state === "failed" && failure !== undefined) {
    return printable(`${failure.address ?? where} ${failure.phase}: ${failure.cause.message}`.trim(), 300);
  }
  if (state === "ignored" && failure !== undefined) return printable(failure.cause.message, 300);
  return printable([where, detail ?? ""].filter((text) => text !== "").join("  "), 300);
}

function shorten(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, width - 1)}…`;
}

function colour(line: string, state: HintState): string {
  const style = (format: "green" | "red" | "yellow" | "gray" | "cyan"): string =>
    styleText(format, line, { validateStream: false });
  switch (state) {
    case "won":
      return style("green");
    case "failed":
      return style("red");
    case "ignored":
      return style("yellow");
    case "abandoned":
    case "waiting":
      return style("gray");
    case "resolving":
    case "connecting":
    case "negotiating":
      return style("cyan");
  }
}
