import { styleText } from "node:util";
import type { TurnClientErrorCode } from "../errors.ts";

/** What is tried, in this order. `stun:` URIs end after `binding`. */
export const CHECK_STEPS = [
  "connect",
  "binding",
  "challenge",
  "allocate",
  "permission",
  "send",
  "channel",
  "data",
  "tcp relay",
  "refresh",
  "close",
] as const;
export type CheckStep = (typeof CHECK_STEPS)[number];

/** What came of a step. */
export interface CheckStepResult {
  readonly step: CheckStep;
  /** `skipped`: nothing to try, or an earlier step failed. */
  readonly status: "passed" | "failed" | "skipped";
  /** How long it took. */
  readonly milliseconds: number;
  /** What was seen, or what went wrong, for people. */
  readonly detail: string;
  /** For `send` and `data`. */
  readonly traffic?: CheckTraffic;
  /** Of a step that failed: why, for programs, and the error code of the server's answer if it was one. */
  readonly code?: TurnClientErrorCode | "loss" | "open";
  readonly serverCode?: number;
  /** Of a step that failed: what usually helps, for people. */
  readonly hint?: string;
}

/** Datagrams that went to the peer and came back. */
export interface CheckTraffic {
  readonly sent: number;
  readonly received: number;
  readonly lossPercent: number;
  readonly rttMs: { readonly min: number; readonly median: number; readonly max: number } | undefined;
}

/** What came of one transport of one URI. */
export interface CheckReport {
  readonly uri: string;
  /** `udp`, `tcp`, `tls`, `dtls`, `ws` or `wss`; undefined if the URI led nowhere. */
  readonly transport: string | undefined;
  /** Where it led: `192.0.2.1:3478`. */
  readonly server: string | undefined;
  /** Nothing failed. */
  readonly ok: boolean;
  readonly steps: readonly CheckStepResult[];
}

/** The table for people. `color` only where it is wanted (a terminal, no NO_COLOR). */
export function formatCheckReports(reports: readonly CheckReport[], options: { readonly color: boolean }): string {
  const paint = (format: "green" | "red" | "dim" | "bold", text: string): string =>
    options.color ? styleText(format, text, { validateStream: false }) : text;
  const lines: string[] = [];
  for (const report of reports) {
    const where = report.server === undefined ? "" : `  (${report.transport} to ${report.server})`;
    lines.push(`${paint("bold", report.uri)}${where}`);
    for (const { steps, status, milliseconds, detail, hint } of merged(report.steps)) {
      const mark = { passed: paint("green", "ok  "), failed: paint("red", "FAIL"), skipped: paint("dim", "-   ") }[
        status
      ];
      if (status === "skipped") {
        lines.push(`  ${mark}  ${paint("dim", `${steps.join(", ")}: ${detail}`)}`);
        continue;
      }
      const time = `${milliseconds.toFixed(1)} ms`.padStart(TIME_WIDTH);
      lines.push(`  ${mark}  ${steps.join(", ").padEnd(STEP_WIDTH)}  ${time}  ${detail}`.trimEnd());
      if (hint !== undefined) lines.push(`        hint: ${hint}`);
    }
    lines.push("");
  }
  const failed = reports.filter(({ ok }) => !ok).length;
  const sum = failed === 0 ? paint("green", "all passed") : paint("red", `${failed} failed`);
  lines.push(`${reports.length} ${reports.length === 1 ? "transport" : "transports"}: ${sum}`);
  return `${lines.join("\n")}\n`;
}

/** The same for programs. */
export function checkReportsJson(reports: readonly CheckReport[]): string {
  return `${JSON.stringify({ ok: reports.every(({ ok }) => ok), checks: reports }, null, 2)}\n`;
}

/** A row of the table: steps that were skipped for one reason share one. */
type Row = Omit<CheckStepResult, "step"> & { readonly steps: CheckStep[] };

function merged(results: readonly CheckStepResult[]): readonly Row[] {
  const rows: Row[] = [];
  for (const { step, ...result } of results) {
    const last = rows.at(-1);
    if (result.status === "skipped" && last?.status === "skipped" && last.detail === result.detail) {
      last.steps.push(step);
    } else {
      rows.push({ ...result, steps: [step] });
    }
  }
  return rows;
}

const STEP_WIDTH = Math.max(...CHECK_STEPS.map((step) => step.length));
const TIME_WIDTH = 10;
