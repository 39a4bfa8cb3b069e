import { performance } from "node:perf_hooks";
import type { Duplex } from "node:stream";
import { formatTransportAddress, type TransportAddress } from "@turnpike/stun";
import { allocateAt, openingOptions, pickCredentials } from "../allocate.ts";
import type { Abortable, Allocation, AllocationHandlers } from "../allocation.ts";
import { ClientDriver } from "../driver.ts";
import { TurnClientError, unlessAborted } from "../errors.ts";
import { readPeer } from "../peer-address.ts";
import { decodeProbe, echoTo, encodeProbe } from "../probe.ts";
import { isUnresolved, type ServerCandidate } from "../resolve.ts";
import type { TurnAllocation } from "../turn-allocation.ts";
import { openTransport } from "../transports/open.ts";
import type { CheckOptions } from "./check.ts";
import { hintForLoss } from "./hints.ts";
import type { CheckStep, CheckStepResult, CheckTraffic } from "./report.ts";

/** What a step leads to, without its name and time. */
export type StepOutcome = Omit<CheckStepResult, "step" | "milliseconds">;

const DATAGRAMS = 20;
const MAX_LOSS_PERCENT = 10;
const DATAGRAM_LENGTH = 100;
const INTERVAL_MS = 5;
/** How long the last datagrams may take to come back. */
const LATE_MS = 1500;

/** The steps of one check, and what they leave for the next ones. */
export class CheckRun implements AsyncDisposable {
  readonly #candidate: ServerCandidate;
  readonly #options: CheckOptions;
  #anonymous: ClientDriver | undefined;
  #allocation: TurnAllocation | undefined;
  /** The peer, if it is a second allocation. */
  #echo: TurnAllocation | undefined;
  #onProbe: (sequence: number, rttMs: number) => void = () => undefined;

  constructor(candidate: ServerCandidate, options: CheckOptions) {
    this.#candidate = candidate;
    this.#options = options;
  }

  /** Whether a step makes sense although an earlier one failed, the last of them as told. */
  canGoOnAfter({ step: failed, code }: CheckStepResult, step: CheckStep): boolean {
    if (failed === "connect" || code === "transportFailed") return false;
    // Servers may be told not to answer Binding; who answers no Allocate either isn't asked a third time.
    if (step === "challenge") return true;
    if (step === "allocate") return !(failed === "challenge" && code === "timeout");
    return this.#allocation !== undefined && (step === "refresh" || step === "close" || failed !== "permission");
  }

  async perform(step: CheckStep, signal: AbortSignal): Promise<StepOutcome> {
    switch (step) {
      case "connect":
        return this.#connect(signal);
      case "binding":
        return this.#binding(signal);
      case "challenge":
        return this.#challenge(signal);
      case "allocate":
        return this.#allocate(signal);
      case "permission":
        return this.#permission(signal);
      case "send":
        return this.#exchange(signal);
      case "channel":
        return this.#channel(signal);
      case "data":
        return this.#exchange(signal);
      case "tcp relay":
        return this.#tcpRelay(signal);
      case "refresh": {
        const seconds = await this.#needed().refresh({ signal });
        return passed(`for ${seconds} s`);
      }
      case "close":
        return this.#close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#anonymous?.destroy();
    await Promise.all([this.#allocation?.close(), this.#echo?.close()]);
  }

  async #connect(signal: AbortSignal): Promise<StepOutcome> {
    const transport = await openTransport(this.#candidate, { ...openingOptions(this.#options), signal });
    this.#anonymous = new ClientDriver({ transport });
    if (transport.security === undefined) return passed("");
    const { protocol, cipher, applicationProtocol } = transport.security;
    return passed(`${protocol}, ${cipher}, ALPN ${applicationProtocol ?? "none"}`);
  }

  async #binding(signal: AbortSignal): Promise<StepOutcome> {
    const completion = await this.#anonymous!.perform(
      "ask for the address",
      (engine, now) => engine.binding(now),
      signal,
    );
    return passed(completion.method === "binding" ? `seen as ${formatTransportAddress(completion.mapped)}` : "");
  }

  async #challenge(signal: AbortSignal): Promise<StepOutcome> {
    try {
      await this.#anonymous!.perform("ask for a challenge", (engine, now) => engine.allocate({}, now), signal);
    } catch (error) {
      const failure = error instanceof TurnClientError ? error.failure : undefined;
      if (failure?.code === "credentialsRequired") return passed(`realm ${JSON.stringify(failure.realm)}`);
      throw error;
    }
    await this.#anonymous!.perform("close", (engine, now) => engine.close(now), signal);
    return {
      status: "failed",
      detail: "the server relays for anybody: it asked for no credentials",
      code: "open",
      hint: "whoever finds it can use it, and hide behind it: have it authenticate",
    };
  }

  async #allocate(signal: AbortSignal): Promise<StepOutcome> {
    this.#allocation = await this.#allocateOne({
      signal,
      onDatagram: ({ data }) => {
        const probe = decodeProbe(data);
        if (probe !== undefined) this.#onProbe(probe.sequence, performance.now() - probe.sentAtMs);
      },
    });
    const { relayedAddress, granted, server } = this.#allocation;
    const elsewhere = formatTransportAddress(server);
    const redirected =
      isUnresolved(this.#candidate.address) || elsewhere === formatTransportAddress(this.#candidate.address)
        ? ""
        : `, redirected to ${elsewhere}`;
    return passed(`${formatTransportAddress(relayedAddress)} for ${granted.lifetimeSeconds} s${redirected}`);
  }

  async #permission(signal: AbortSignal): Promise<StepOutcome> {
    const allocation = this.#needed();
    if (this.#options.peer === undefined) {
      this.#echo = await this.#allocateOne({
        signal,
        onDatagram: ({ peer, data }) => echoTo(() => this.#echo, peer, data),
      });
      await this.#echo.permit(allocation.relayedAddress, { signal });
    }
    await allocation.permit(this.#peer, { signal });
    return passed(
      `for ${formatTransportAddress(this.#peer)}${this.#echo === undefined ? "" : ", a second allocation"}`,
    );
  }

  async #channel(signal: AbortSignal): Promise<StepOutcome> {
    const allocation = this.#needed();
    const number = await allocation.bindChannel(this.#peer, { signal });
    await this.#echo?.bindChannel(allocation.relayedAddress, { signal });
    return passed(`0x${number.toString(16)}`);
  }

  /** Numbered datagrams to the peer, which sends them back. */
  async #exchange(signal: AbortSignal): Promise<StepOutcome> {
    const allocation = this.#needed();
    const total = this.#options.datagrams ?? DATAGRAMS;
    const rtts = new Map<number, number>();
    const all = Promise.withResolvers<void>();
    this.#onProbe = (sequence, rttMs) => {
      if (!rtts.has(sequence)) rtts.set(sequence, rttMs);
      if (rtts.size >= total) all.resolve();
    };
    for (let sequence = 0; sequence < total; sequence++) {
      const sentAtMs = performance.now();
      allocation.send(this.#peer, encodeProbe({ flow: 0, sequence, sentAtMs }, DATAGRAM_LENGTH));
      await delay(INTERVAL_MS, signal);
    }
    await Promise.race([all.promise, delay(LATE_MS, signal)]);
    this.#onProbe = () => undefined;
    return this.#judge(trafficOf(total, [...rtts.values()]));
  }

  #judge(traffic: CheckTraffic): StepOutcome {
    const { sent, received, lossPercent, rttMs } = traffic;
    const ms = (value: number): string => value.toFixed(1);
    const times = rttMs === undefined ? "" : `, RTT ${ms(rttMs.min)}/${ms(rttMs.median)}/${ms(rttMs.max)} ms`;
    const detail = `${received} of ${sent} came back, ${lossPercent.toFixed(0)} % lost${times}`;
    const allowed = this.#options.maxLossPercent ?? MAX_LOSS_PERCENT;
    if (lossPercent <= allowed) return { status: "passed", detail, traffic };
    const hint = hintForLoss(this.#options.peer !== undefined);
    return { status: "failed", detail, traffic, code: "loss", ...(received === 0 ? { hint } : {}) };
  }

  /** Two TCP allocations: one connects to the other, and bytes go both ways (RFC 6062). */
  async #tcpRelay(signal: AbortSignal): Promise<StepOutcome> {
    const called = Promise.withResolvers<Duplex>();
    const allocations: Allocation[] = [];
    const streams: Duplex[] = [];
    try {
      const callee = await this.#allocateOne({
        relay: "tcp",
        signal,
        onConnection: (connection) => called.resolve(connection),
      });
      allocations.push(callee);
      const caller = await this.#allocateOne({ relay: "tcp", signal });
      allocations.push(caller);
      await callee.permit(caller.relayedAddress, { signal });
      const outgoing = keepStream(await caller.connect(callee.relayedAddress, { signal }), streams);
      const incoming = keepStream(await unlessAborted(called.promise, signal), streams);
      outgoing.write("there");
      await expectBytes(incoming, "there", signal);
      incoming.write("and back");
      await expectBytes(outgoing, "and back", signal);
      const [from, to] = allocations.map(({ relayedAddress }) => formatTransportAddress(relayedAddress));
      return passed(`${to} connected to ${from}`);
    } catch (error) {
      const code = error instanceof TurnClientError ? error.serverCode : undefined;
      // Some servers answer 403 where they don't have them.
      const isOff = allocations.length === 0 && (code === UNSUPPORTED_TRANSPORT_PROTOCOL || code === FORBIDDEN);
      if (isOff) return { status: "skipped", detail: `the server has no TCP allocations (${code})` };
      throw error;
    } finally {
      for (const stream of streams) stream.destroy();
      await Promise.all(allocations.map((allocation) => allocation.close()));
    }
  }

  async #close(): Promise<StepOutcome> {
    const error = await this.#needed().end();
    await this.#echo?.close();
    if (error !== undefined) throw error;
    return passed("");
  }

  get #peer(): TransportAddress {
    return this.#options.peer === undefined ? this.#echo!.relayedAddress : readPeer(this.#options.peer);
  }

  #needed(): TurnAllocation {
    if (this.#allocation === undefined) throw new TypeError("There is no allocation");
    return this.#allocation;
  }

  #allocateOne(more: Demands): Promise<TurnAllocation> {
    const options = { ...pickCredentials(this.#options), ...openingOptions(this.#options), ...more };
    return allocateAt(this.#candidate, options, true);
  }
}

type Demands = Abortable & AllocationHandlers & { readonly relay?: "tcp" };

const FORBIDDEN = 403;
const UNSUPPORTED_TRANSPORT_PROTOCOL = 442;

function passed(detail: string): StepOutcome {
  return { status: "passed", detail };
}

function trafficOf(sent: number, rtts: readonly number[]): CheckTraffic {
  const sorted = rtts.toSorted((a, b) => a - b);
  return {
    sent,
    received: sorted.length,
    lossPercent: (100 * (sent - sorted.length)) / sent,
    rttMs:
      sorted.length === 0
        ? undefined
        : { min: sorted[0]!, median: sorted[Math.floor(sorted.length / 2)]!, max: sorted.at(-1)! },
  };
}

function keepStream(stream: Duplex, streams: Duplex[]): Duplex {
  // What breaks it shows where it is read.
  stream.on("error", () => undefined);
  streams.push(stream);
  return stream;
}

async function expectBytes(stream: Duplex, expected: string, signal: AbortSignal): Promise<void> {
  const text = await unlessAborted(readText(stream, expected.length), signal);
  if (text !== expected) throw new TurnClientError("malformedResponse", "The bytes of the connection were changed");
}

async function readText(stream: Duplex, length: number): Promise<string> {
  let text = "";
  for await (const chunk of stream.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>) {
    text += Buffer.from(chunk).toString("latin1");
    if (text.length >= length) return text;
  }
  throw new TurnClientError("transportFailed", "The connection through the server ended before its bytes came");
}

function delay(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      clearTimeout(timer);
      reject(new Error("aborted"));
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", abort);
      resolve();
    }, ms);
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
  });
}
