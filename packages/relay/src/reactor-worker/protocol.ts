import type { PenaltySettings } from "@turnpike/authn/penalties";
import type { IpAddress } from "@turnpike/stun";
import type { DeletionReason, LifecycleEvent, Listener } from "@turnpike/turn";
import type { MessagePort } from "node:worker_threads";
import type { ChannelOutput } from "../kernel/kernel-channels.ts";
import type { AllocationSelector } from "../allocation-selector.ts";
import type { RelayAddress } from "../addresses/relay-address.ts";
import type { PortRange } from "../ports/port-range.ts";
import type { Authenticate, EngineSettings, PeerRules } from "../relay-options.ts";

/** Where a reactor's thread finds who authenticates: functions don't cross threads. */
export interface AuthenticateModule {
  /** URL of an ES module that exports {@link CreateAuthenticate} as `createAuthenticate`. */
  readonly module: string;
  /** Given to it; must survive a structured clone. */
  readonly data: unknown;
}

/** Asks the main thread something slow; `answer` is called once, later, with what it said. */
export type Ask = (question: unknown, answer: (answer: unknown) => void) => void;

/** What the module of an {@link AuthenticateModule} exports. */
export type CreateAuthenticate = (data: unknown, ask: Ask) => Authenticate | Promise<Authenticate>;

/** What a reactor's thread is started with. */
export interface WorkerStart {
  /** Leases ports and names tokens: no two living reactors share it. */
  readonly reactor: number;
  readonly listeners: readonly Listener[];
  /** A bound socket for each listener, owned by the main thread. */
  readonly descriptors: readonly number[];
  /** An eventfd, owned by the main thread. */
  readonly wakeDescriptor: number;
  readonly relayAddresses: readonly RelayAddress[];
  readonly ownAddresses: readonly IpAddress[];
  readonly portRange: PortRange;
  readonly realm: string;
  readonly nonceKey: Uint8Array;
  readonly peers: PeerRules;
  readonly engine: EngineSettings;
  readonly authenticate: AuthenticateModule;
  readonly penalties: PenaltySettings | false;
  readonly events: boolean;
  readonly aggregate: boolean;
  readonly coalesceUs: number;
  readonly bufferBytes: number;
  /** Whether the main thread wants to hear of channels. */
  readonly channels: boolean;
  readonly memory: WorkerMemory;
  readonly port: MessagePort;
}

/** Memory that the main thread and a reactor share. */
interface WorkerMemory {
  readonly ports: SharedArrayBuffer;
  readonly hairpin: SharedArrayBuffer;
  readonly counters: SharedArrayBuffer;
  readonly gauges: SharedArrayBuffer;
  readonly descriptors: SharedArrayBuffer;
  /** One integer that grows with each message to the reactor. */
  readonly control: SharedArrayBuffer;
  /** Address of the plane's arena, which outlives the thread; −1: the plane takes memory of its own. */
  readonly arena: number;
}

/** From the main thread. */
export type ToWorker =
  | { readonly kind: "drain" }
  | { readonly kind: "stop" }
  | {
      readonly kind: "endAllocations";
      readonly id: number;
      readonly selector: AllocationSelector;
      readonly reason: DeletionReason;
    }
  | { readonly kind: "answer"; readonly id: number; readonly answer: unknown };

/** To the main thread. */
export type FromWorker =
  | { readonly kind: "ready" }
  | { readonly kind: "drained" }
  | { readonly kind: "channel"; readonly output: ChannelOutput }
  | { readonly kind: "endedAllocations"; readonly id: number; readonly count: number }
  | { readonly kind: "events"; readonly events: readonly LifecycleEvent[] }
  | { readonly kind: "ask"; readonly id: number; readonly question: unknown }
  | {
      readonly kind: "log";
      readonly level: "debug" | "info" | "warn" | "error";
      readonly fields: Readonly<Record<string, unknown>>;
      readonly message: string;
    };

/** Places of what a reactor shows of itself in its shared gauges. */
export const Gauge = {
  allocations: 0,
  relaySockets: 1,
  reservedPorts: 2,
  portsInUse: 3,
  portsSetAside: 4,
  suppressedReplies: 5,
  internalErrors: 6,
  penaltyFailures: 7,
  penaltyDiscarded: 8,
  penaltyBans: 9,
  penaltyWaiting: 10,
  penaltySources: 11,
} as const;

export const GAUGE_BYTES: number = Object.keys(Gauge).length * Float64Array.BYTES_PER_ELEMENT;
