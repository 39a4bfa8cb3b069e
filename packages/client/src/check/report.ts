import { styleText } from "node:util";

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
  /** `skipped`: nothing to try, or the step before it failed. */
  readonly status: "passed" | "failed" | "skipped";
  /** How long it took. */
  readonly milliseconds: number;
  /** What was seen, or what went wrong, for people. */
  readonly detail: string;
  /** For `send` and `data`. */
  readonly traffic?: CheckTraffic;
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
    for (const { step, status, milliseconds, detail } of report.steps) {
      const mark = { passed: paint("green", "ok  "), failed: paint("red", "FAIL"), skipped: paint("dim", "-   ") }[
        status
      ];
      const time = status === "skipped" ? "" : `${milliseconds.toFixed(1)} ms`;
      lines.push(`  ${mark}  ${step.padEnd(STEP_WIDTH)}  ${time.padStart(TIME_WIDTH)}  ${detail}`.trimEnd());
    }
    lines.push("");
  }
  const failed = reports.filter(({ ok }) => !ok).length;
  const sum = failed === 0 ? paint("green", "all passed") : paint("red", `${failed} of ${reports.length} failed`);
  lines.push(`${reports.length} ${reports.length === 1 ? "transport" : "transports"}: ${sum}`);
  return `${lines.join("\n")}\n`;
}

/** The same for programs. */
export function checkReportsJson(reports: readonly CheckReport[]): string {
  return `${JSON.stringify({ ok: reports.every(({ ok }) => ok), checks: reports }, null, 2)}\n`;
}

const STEP_WIDTH = Math.max(...CHECK_STEPS.map((step) => step.length));
const TIME_WIDTH = 10;
