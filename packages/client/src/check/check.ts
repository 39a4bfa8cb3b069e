import { performance } from "node:perf_hooks";
import type { CredentialOptions } from "../allocate.ts";
import { asError, reasonOf, TurnClientError } from "../errors.ts";
import { placeOf, resolveUri, type ResolveOptions, type ServerCandidate } from "../resolve.ts";
import type { OpenTransportOptions } from "../transports/transport.ts";
import { formatUri, parseUri, type TurnUri } from "../uri.ts";
import { hintFor } from "./hints.ts";
import { CHECK_STEPS, type CheckReport, type CheckStep, type CheckStepResult } from "./report.ts";
import { CheckRun, type StepOutcome } from "./run.ts";

/** How a server is checked. */
export type CheckOptions = CredentialOptions &
  Omit<ResolveOptions, "signal"> &
  Omit<OpenTransportOptions, "signal"> & {
    /** A UDP peer that sends back what it gets. Default: a second allocation, which every policy lets pass. */
    readonly peer?: string;
    /** Datagrams to send each way. Default 20. */
    readonly datagrams?: number;
    /** More loss than this fails. Default 10. */
    readonly maxLossPercent?: number;
    /** How long a step may take. Default 15,000. */
    readonly stepTimeoutMs?: number;
    /** Called after each step. */
    readonly onStep?: (uri: string, result: CheckStepResult) => void;
    readonly signal?: AbortSignal;
  };

/**
 * Tries servers the way a client does, transport by transport: Binding, challenge, Allocate, CreatePermission,
 * Send/Data, ChannelBind, data both ways with loss and RTT, a TCP allocation where the transport can carry one,
 * Refresh, close.
 *
 * @throws UriError for a URI that is none; TypeError for options that can't be used; the signal's reason. A server that
 *   fails is no error but a report.
 */
export async function checkServers(uris: readonly string[], options: CheckOptions = {}): Promise<CheckReport[]> {
  const parsed = uris.map((uri) => parseUri(uri));
  const reports: CheckReport[] = [];
  for (const uri of parsed) {
    let candidates: readonly ServerCandidate[];
    try {
      candidates = onePerTransport(await resolveUri(uri, options));
    } catch (error) {
      if (options.signal?.aborted === true) throw reasonOf(options.signal);
      if (!(error instanceof TurnClientError)) throw asError(error);
      reports.push(unresolved(uri, error));
      continue;
    }
    for (const candidate of candidates) reports.push(await checkServer(uri, candidate, options));
  }
  return reports;
}

const STEP_TIMEOUT_MS = 15_000;

async function checkServer(uri: TurnUri, candidate: ServerCandidate, options: CheckOptions): Promise<CheckReport> {
  const name = formatUri({ ...uri, transport: uri.transport ?? parameterOf(candidate) });
  const steps = stepsFor(uri, candidate);
  const results: CheckStepResult[] = [];
  await using run = new CheckRun(candidate, options);
  for (const step of steps) {
    if (options.signal?.aborted === true) throw reasonOf(options.signal);
    const failed = results.findLast(({ status }) => status === "failed");
    const result =
      failed === undefined || run.canGoOnAfter(failed, step)
        ? await perform(run, step, candidate, options)
        : ({ step, status: "skipped", milliseconds: 0, detail: `not tried, because ${failed.step} failed` } as const);
    results.push(result);
    options.onStep?.(name, result);
  }
  return {
    uri: name,
    transport: candidate.transport,
    server: placeOf(candidate),
    ok: results.every(({ status }) => status !== "failed"),
    steps: results,
  };
}

async function perform(
  run: CheckRun,
  step: CheckStep,
  candidate: ServerCandidate,
  options: CheckOptions,
): Promise<CheckStepResult> {
  const startMs = performance.now();
  const limitMs = options.stepTimeoutMs ?? STEP_TIMEOUT_MS;
  const timeout = AbortSignal.timeout(limitMs);
  const signal = options.signal === undefined ? timeout : AbortSignal.any([options.signal, timeout]);
  let outcome: StepOutcome;
  try {
    outcome = await run.perform(step, signal);
  } catch (error) {
    if (options.signal?.aborted === true) throw reasonOf(options.signal);
    const failure = timeout.aborted
      ? new TurnClientError("timeout", `no answer within ${limitMs / 1000} s`, { cause: error })
      : error;
    // The caller's mistake, such as a certificate file without a certificate.
    if (failure instanceof TypeError || failure instanceof RangeError) throw failure;
    outcome =
      failure instanceof TurnClientError
        ? outcomeOf(failure, step, candidate)
        : { status: "failed", detail: asError(failure).message };
  }
  return { step, milliseconds: performance.now() - startMs, ...outcome };
}

function outcomeOf(error: TurnClientError, step: CheckStep, candidate: ServerCandidate): StepOutcome {
  const { code, serverCode } = error;
  const hint = hintFor(step, error, candidate);
  return {
    status: "failed",
    detail: error.message,
    code,
    ...(serverCode === undefined ? {} : { serverCode }),
    ...(hint === undefined ? {} : { hint }),
  };
}

function stepsFor(uri: TurnUri, { transport }: ServerCandidate): readonly CheckStep[] {
  if (uri.scheme.startsWith("stun")) return ["connect", "binding"];
  const canRelayTcp = transport === "tcp" || transport === "tls";
  return CHECK_STEPS.filter((step) => step !== "tcp relay" || canRelayTcp);
}

function onePerTransport(candidates: readonly ServerCandidate[]): ServerCandidate[] {
  const seen = new Set<string>();
  return candidates.filter(({ transport }) => seen.size < seen.add(transport).size);
}

/** The parameter that names a transport in a URI without one; `stun:` URIs have none. */
function parameterOf({ transport }: ServerCandidate): TurnUri["transport"] {
  return ({ udp: "udp", dtls: "udp", tcp: "tcp", tls: "tcp", ws: "ws", wss: "ws" } as const)[transport];
}

function unresolved(uri: TurnUri, error: TurnClientError): CheckReport {
  const step: CheckStepResult = {
    step: "connect",
    status: "failed",
    milliseconds: 0,
    detail: error.message,
    code: error.code,
    hint: `check the name, and what DNS says about it from here (A, AAAA, and SRV or NAPTR if there are any)`,
  };
  return { uri: formatUri(uri), transport: undefined, server: undefined, ok: false, steps: [step] };
}
