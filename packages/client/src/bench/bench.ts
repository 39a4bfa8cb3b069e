import { performance } from "node:perf_hooks";
import type { TransportAddress } from "@turnpike/stun";
import type { ClientTransport } from "@turnpike/turn";
import { allocateAt, openingOptions, pickCredentials, type CredentialOptions } from "../allocate.ts";
import { asError, reasonOf } from "../errors.ts";
import { PROBE_HEADER_LENGTH, decodeProbe, echoTo, encodeProbe } from "../probe.ts";
import { placeOf, resolveUri, type ResolveOptions, type ServerCandidate } from "../resolve.ts";
import type { OpenTransportOptions } from "../transports/transport.ts";
import type { TurnAllocation } from "../turn-allocation.ts";
import { formatUri, isSecure, parseUri, type TurnUri } from "../uri.ts";
import type { AllocationReport, BenchProgress, BenchReport, TrafficReport } from "./report.ts";
import { Times } from "./times.ts";

/** How much load, and who makes it. */
export type BenchOptions = CredentialOptions &
  Omit<ResolveOptions, "signal"> &
  Omit<OpenTransportOptions, "signal"> & {
    /** Pairs of allocations that send to each other; with `allocate` allocations made at a time. 1–10,000. Default 1. */
    readonly flows?: number;
    /** Payload of a datagram in bytes, 20–65,507. Default 160: 20 ms of voice. */
    readonly size?: number;
    /** Datagrams a second and flow, up to 100,000. Default 50. */
    readonly rate?: number;
    /** How long to send, up to 86,400. Default 10. */
    readonly seconds?: number;
    /** Goes before what the URI says; of a `turns:` URI `udp` means DTLS, `tcp` TLS and `ws` `wss`. */
    readonly transport?: ClientTransport;
    /** True: measures how many allocations a second the server makes, in place of traffic. */
    readonly allocate?: boolean;
    /** Called some times a second. */
    readonly onProgress?: (progress: BenchProgress) => void;
    readonly signal?: AbortSignal;
  };

/**
 * Puts a TURN server under load. Each flow is two allocations: one sends numbered datagrams through a channel, the
 * other sends them back, so that every datagram passes the relay four times.
 *
 * @throws UriError, TypeError, RangeError; TurnClientError if an allocation of a flow can't be had; the signal's reason.
 */
export async function bench(uri: string, options: BenchOptions = {}): Promise<BenchReport> {
  const limits = readLimits(options);
  const parsed = withTransport(parseUri(uri), options.transport);
  if (!parsed.scheme.startsWith("turn"))
    throw new TypeError(`Cannot put load on a ${parsed.scheme}: URI: expected turn: or turns:`);
  const [candidate] = await resolveUri(parsed, options);
  const run = new BenchRun(formatUri(parsed), candidate!, limits, options);
  return options.allocate === true ? run.allocations() : run.traffic();
}

interface Limits {
  readonly flows: number;
  readonly size: number;
  readonly rate: number;
  readonly seconds: number;
}

interface Flow {
  /** Its number, which its datagrams carry. */
  readonly index: number;
  readonly sender: TurnAllocation;
  readonly echo: TurnAllocation;
  sent: number;
}

const TICK_MS = 5;
const PROGRESS_MS = 250;
/** How long the last datagrams may take to come back. */
const LATE_MS = 2000;
/** Allocations that are made at a time for flows. */
const PARALLEL = 16;

class BenchRun {
  readonly #uri: string;
  readonly #candidate: ServerCandidate;
  readonly #limits: Limits;
  readonly #options: BenchOptions;
  readonly #times = new Times();
  readonly #flows: Flow[] = [];
  /** By the number of a flow one bit for each datagram that came back. */
  readonly #seen = new Map<number, Uint8Array>();
  /** Datagrams that a flow sends. */
  readonly #total: number;
  #sent = 0;
  #received = 0;
  #duplicated = 0;
  #notSent = 0;
  #reportedAtMs = 0;

  constructor(uri: string, candidate: ServerCandidate, limits: Limits, options: BenchOptions) {
    this.#uri = uri;
    this.#candidate = candidate;
    this.#limits = limits;
    this.#total = Math.ceil(limits.rate * limits.seconds);
    this.#options = options;
  }

  async traffic(): Promise<TrafficReport> {
    const { flows, size, rate } = this.#limits;
    try {
      await this.#openFlows();
      const seconds = await this.#send();
      const waitedFromMs = performance.now();
      while (this.#received < this.#sent && performance.now() - waitedFromMs < LATE_MS) {
        this.#progress("waiting", 1);
        await this.#pause(TICK_MS);
      }
      const lost = this.#sent - this.#received;
      return {
        kind: "traffic",
        ...this.#where(),
        flows,
        sizeBytes: size,
        rate,
        seconds,
        sent: this.#sent,
        received: this.#received,
        lost,
        lossPercent: this.#sent === 0 ? 0 : (100 * lost) / this.#sent,
        duplicated: this.#duplicated,
        notSent: this.#notSent,
        sentPerSecond: this.#sent / seconds,
        bitsPerSecond: (this.#sent * size * 8) / seconds,
        rttMs: this.#times.percentiles(),
        histogram: this.#times.buckets(),
      };
    } finally {
      await Promise.all(this.#flows.flatMap(({ sender, echo }) => [sender.close(), echo.close()]));
    }
  }

  async allocations(): Promise<AllocationReport> {
    const { flows, seconds } = this.#limits;
    const failures = new Map<string, number>();
    const startMs = performance.now();
    const endMs = startMs + seconds * 1000;
    let allocated = 0;
    let failed = 0;
    const worker = async (): Promise<void> => {
      while (performance.now() < endMs) {
        const fromMs = performance.now();
        try {
          const allocation = await this.#allocate({});
          this.#times.record(performance.now() - fromMs);
          allocated++;
          await allocation.close();
        } catch (error) {
          this.#throwIfAborted();
          failed++;
          const { message } = asError(error);
          if (failures.has(message) || failures.size < MAXIMUM_REASONS) {
            failures.set(message, (failures.get(message) ?? 0) + 1);
          }
          await this.#pause(TICK_MS);
        }
        this.#sent = allocated + failed;
        this.#received = allocated;
        this.#progress("allocating", (performance.now() - startMs) / (seconds * 1000));
      }
    };
    await Promise.all(Array.from({ length: flows }, worker));
    const took = (performance.now() - startMs) / 1000;
    return {
      kind: "allocations",
      ...this.#where(),
      flows,
      seconds: took,
      allocated,
      failed,
      failures: Object.fromEntries(failures),
      allocatedPerSecond: allocated / took,
      allocateMs: this.#times.percentiles(),
      histogram: this.#times.buckets(),
    };
  }

  async #openFlows(): Promise<void> {
    const { flows } = this.#limits;
    let next = 0;
    const worker = async (): Promise<void> => {
      while (next < flows) {
        const index = next++;
        await this.#openFlow(index);
        this.#progress("allocating", this.#flows.length / flows);
      }
    };
    // All have ended before anything is closed, so that no flow opens after that.
    const results = await Promise.allSettled(Array.from({ length: Math.min(PARALLEL, flows) }, worker));
    for (const result of results) {
      if (result.status === "rejected") throw asError(result.reason);
    }
  }

  async #openFlow(index: number): Promise<void> {
    const { signal } = this.#options;
    const abortable = signal === undefined ? {} : { signal };
    const sender = await this.#allocate({ onDatagram: ({ data }) => this.#receive(data) });
    let echo: TurnAllocation | undefined;
    try {
      const onDatagram = ({ peer, data }: { readonly peer: TransportAddress; readonly data: Uint8Array }): void =>
        echoTo(() => echo, peer, data);
      echo = await this.#allocate({ onDatagram });
      await echo.bindChannel(sender.relayedAddress, abortable);
      await sender.bindChannel(echo.relayedAddress, abortable);
    } catch (error) {
      await Promise.all([sender.close(), echo?.close()]);
      throw error;
    }
    this.#seen.set(index, new Uint8Array(Math.ceil(this.#total / 8)));
    this.#flows.push({ index, sender, echo, sent: 0 });
  }

  /** Sends as evenly as a timer allows, and says how long it took. */
  async #send(): Promise<number> {
    const { rate, seconds, size } = this.#limits;
    const total = this.#total;
    const startMs = performance.now();
    for (;;) {
      const elapsedMs = performance.now() - startMs;
      const due = Math.min(total, Math.floor((elapsedMs * rate) / 1000) + 1);
      for (const flow of this.#flows) this.#sendDue(flow, due, size);
      this.#progress("sending", elapsedMs / (seconds * 1000));
      if (due >= total && elapsedMs >= seconds * 1000) return elapsedMs / 1000;
      await this.#pause(TICK_MS);
    }
  }

  #sendDue(flow: Flow, due: number, size: number): void {
    for (; flow.sent < due; flow.sent++) {
      const probe = { flow: flow.index, sequence: flow.sent, sentAtMs: performance.now() };
      if (flow.sender.send(flow.echo.relayedAddress, encodeProbe(probe, size))) this.#sent++;
      else this.#notSent++;
    }
  }

  #receive(data: Uint8Array): void {
    const probe = decodeProbe(data);
    const seen = probe === undefined ? undefined : this.#seen.get(probe.flow);
    if (probe === undefined || seen === undefined || probe.sequence >= seen.length * 8) return;
    const mask = 1 << (probe.sequence & 7);
    const byte = probe.sequence >>> 3;
    if ((seen[byte]! & mask) !== 0) {
      this.#duplicated++;
      return;
    }
    seen[byte]! |= mask;
    this.#received++;
    this.#times.record(performance.now() - probe.sentAtMs);
  }

  #allocate(handlers: { readonly onDatagram?: TurnAllocationHandler }): Promise<TurnAllocation> {
    const { signal } = this.#options;
    const options = {
      ...pickCredentials(this.#options),
      ...openingOptions(this.#options),
      ...(signal === undefined ? {} : { signal }),
      ...handlers,
    };
    return allocateAt(this.#candidate, options, true);
  }

  #where(): { readonly uri: string; readonly transport: string; readonly server: string } {
    const { transport } = this.#candidate;
    return { uri: this.#uri, transport, server: placeOf(this.#candidate) };
  }

  #progress(phase: BenchProgress["phase"], fraction: number): void {
    const nowMs = performance.now();
    if (nowMs - this.#reportedAtMs < PROGRESS_MS) return;
    this.#reportedAtMs = nowMs;
    this.#options.onProgress?.({ phase, fraction: Math.min(1, fraction), sent: this.#sent, received: this.#received });
  }

  async #pause(ms: number): Promise<void> {
    this.#throwIfAborted();
    await new Promise((resolve) => setTimeout(resolve, ms));
    this.#throwIfAborted();
  }

  #throwIfAborted(): void {
    const { signal } = this.#options;
    if (signal?.aborted === true) throw reasonOf(signal);
  }
}

type TurnAllocationHandler = (datagram: { readonly peer: TransportAddress; readonly data: Uint8Array }) => void;

/** Reasons of failures that are told apart. */
const MAXIMUM_REASONS = 20;

function readLimits({ flows = 1, size = 160, rate = 50, seconds = 10 }: BenchOptions): Limits {
  requireRange("flows", flows, { from: 1, to: 10_000, whole: true });
  requireRange("size", size, { from: PROBE_HEADER_LENGTH, to: 65_507, whole: true });
  requireRange("rate", rate, { from: 0.001, to: 100_000, whole: false });
  requireRange("seconds", seconds, { from: 0.001, to: 86_400, whole: false });
  if (flows * rate * seconds > MAXIMUM_DATAGRAMS) {
    throw new RangeError(
      `Cannot send more than ${MAXIMUM_DATAGRAMS} datagrams in one run: fewer flows, seconds or less rate`,
    );
  }
  return { flows, size, rate, seconds };
}

/** Each takes a bit of memory. */
const MAXIMUM_DATAGRAMS = 1_000_000_000;

function requireRange(
  name: string,
  value: number,
  { from, to, whole }: { readonly from: number; readonly to: number; readonly whole: boolean },
): void {
  if (value >= from && value <= to && (!whole || Number.isInteger(value))) return;
  throw new RangeError(`Cannot use ${name} ${value}: expected a ${whole ? "whole " : ""}number from ${from} to ${to}`);
}

/** A URI with another transport. TLS, DTLS and `wss` make it a `turns:` one; a `turns:` one stays one. */
function withTransport(uri: TurnUri, transport: BenchOptions["transport"]): TurnUri {
  if (transport === undefined) return uri;
  const secure = isSecure(uri) || transport === "tls" || transport === "dtls" || transport === "wss";
  const parameter = ({ udp: "udp", dtls: "udp", tcp: "tcp", tls: "tcp", ws: "ws", wss: "ws" } as const)[transport];
  return { ...uri, scheme: secure ? "turns" : "turn", transport: parameter };
}
