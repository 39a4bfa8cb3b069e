import { styleText } from "node:util";

/** Times in milliseconds. */
export interface Percentiles {
  readonly min: number;
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

/** How many times fell between two bounds, in milliseconds; the upper one is excluded. */
export interface HistogramBucket {
  readonly fromMs: number;
  readonly toMs: number;
  readonly count: number;
}

/** What a load run showed. */
export interface TrafficReport {
  readonly kind: "traffic";
  readonly uri: string;
  readonly transport: string;
  readonly server: string;
  readonly flows: number;
  readonly sizeBytes: number;
  /** Datagrams a second and flow that were asked for. */
  readonly rate: number;
  /** How long datagrams were sent. */
  readonly seconds: number;
  readonly sent: number;
  /** Datagrams that came back, each once. */
  readonly received: number;
  readonly lost: number;
  readonly lossPercent: number;
  /** Datagrams that came back more than once. */
  readonly duplicated: number;
  /** Datagrams that this machine did not send because its own queue was full: not among the lost ones. */
  readonly notSent: number;
  readonly sentPerSecond: number;
  /** Payload in one direction. */
  readonly bitsPerSecond: number;
  readonly rttMs: Percentiles | undefined;
  readonly histogram: readonly HistogramBucket[];
}

/** What a run of allocations showed. */
export interface AllocationReport {
  readonly kind: "allocations";
  readonly uri: string;
  readonly transport: string;
  readonly server: string;
  /** Allocations that were made at the same time. */
  readonly flows: number;
  readonly seconds: number;
  readonly allocated: number;
  readonly failed: number;
  /** Reasons of the failures and how often each came. */
  readonly failures: Readonly<Record<string, number>>;
  readonly allocatedPerSecond: number;
  /** From the connection to the success, the challenge included. */
  readonly allocateMs: Percentiles | undefined;
  readonly histogram: readonly HistogramBucket[];
}

export type BenchReport = TrafficReport | AllocationReport;

/** How far a run is. */
export interface BenchProgress {
  readonly phase: "allocating" | "sending" | "waiting";
  /** 0 to 1. */
  readonly fraction: number;
  readonly sent: number;
  readonly received: number;
}

/** One line of progress: `sending  [#########-----------]  45 %  sent 4500  received 4498`. */
export function formatBenchProgress({ phase, fraction, sent, received }: BenchProgress): string {
  const full = Math.round(Math.min(1, Math.max(0, fraction)) * BAR_WIDTH);
  const bar = `${"#".repeat(full)}${"-".repeat(BAR_WIDTH - full)}`;
  const percent = `${Math.round(fraction * 100)} %`.padStart(5);
  return `${phase.padEnd(10)} [${bar}] ${percent}  sent ${sent}  received ${received}`;
}

/** The report for people. `color` only where it is wanted (a terminal, no NO_COLOR). */
export function formatBenchReport(report: BenchReport, options: { readonly color: boolean }): string {
  const bold = (text: string): string => (options.color ? styleText("bold", text, { validateStream: false }) : text);
  const lines = [bold(`${report.uri}  (${report.transport} to ${report.server})`)];
  if (report.kind === "traffic") {
    lines.push(
      `flows        ${report.flows}, ${report.rate} datagrams/s each of ${report.sizeBytes} bytes, ${report.seconds.toFixed(1)} s`,
      `sent         ${report.sent}  (${report.sentPerSecond.toFixed(0)}/s, ${(report.bitsPerSecond / 1e6).toFixed(2)} Mbit/s)`,
      `received     ${report.received}`,
      `lost         ${report.lost}  (${report.lossPercent.toFixed(2)} %)`,
      ...(report.duplicated === 0 ? [] : [`duplicated   ${report.duplicated}`]),
      ...(report.notSent === 0 ? [] : [`not sent     ${report.notSent}  (this machine is the limit)`]),
      `round trip   ${formatPercentiles(report.rttMs)}`,
    );
  } else {
    lines.push(
      `allocations  ${report.allocated} in ${report.seconds.toFixed(1)} s, ${report.flows} at a time`,
      `rate         ${report.allocatedPerSecond.toFixed(1)}/s`,
      `failed       ${report.failed}`,
      ...Object.entries(report.failures).map(([reason, count]) => `             ${count} × ${reason}`),
      `time         ${formatPercentiles(report.allocateMs)}`,
    );
  }
  lines.push(...formatHistogram(report.histogram), "");
  return lines.join("\n");
}

/** The same for programs. */
export function benchReportJson(reports: readonly BenchReport[]): string {
  return `${JSON.stringify({ benches: reports }, null, 2)}\n`;
}

const BAR_WIDTH = 30;

function formatPercentiles(times: Percentiles | undefined): string {
  if (times === undefined) return "nothing came back";
  const { min, mean, p50, p90, p99, p999, max } = times;
  const ms = (value: number): string => value.toFixed(2);
  return `min ${ms(min)}  mean ${ms(mean)}  p50 ${ms(p50)}  p90 ${ms(p90)}  p99 ${ms(p99)}  p99.9 ${ms(p999)}  max ${ms(max)} ms`;
}

function formatHistogram(buckets: readonly HistogramBucket[]): string[] {
  const most = Math.max(1, ...buckets.map(({ count }) => count));
  return buckets.map(({ fromMs, toMs, count }) => {
    const range = `${String(fromMs).padStart(6)} – ${(Number.isFinite(toMs) ? String(toMs) : "").padEnd(6)} ms`;
    const bar = "#".repeat(Math.ceil((count / most) * BAR_WIDTH));
    return `  ${range}  ${bar.padEnd(BAR_WIDTH)}  ${count}`;
  });
}
