import type { ChannelOutput } from "../kernel/kernel-channels.ts";
import { AddressRegister, type IpAddress, type TransportAddress } from "@turnpike/stun";
import type { AttemptSource, BanSubject, PenaltySettings } from "@turnpike/authn/penalties";
import {
  type AllocationDescription,
  ClientSource,
  type DeletionReason,
  type EngineLimits,
  type LifecycleEvent,
  type LimitChange,
  type Listener,
  type NatDiscovery,
} from "@turnpike/turn";
import type { MessagePort } from "node:worker_threads";
import type { RelayAddress } from "../addresses/relay-address.ts";
import type { AllocationSelector } from "../allocation-selector.ts";
import type { PortRange } from "../ports/port-range.ts";
import type { AdmissionDecision, AdmissionQuestion } from "../reactor/reactor.ts";
import type { HeldPort } from "../reactor/relay-sockets.ts";
import type { EngineSettings, PeerRules } from "../relay-options.ts";

/** What a reactor's thread is started with. */
export interface WorkerStart {
  /** Leases ports and names tokens: no two living reactors share it. */
  readonly reactor: number;
  readonly engines: number;
  /** All of the relay's, those of other reactors included. */
  readonly listeners: readonly Listener[];
  readonly natDiscovery: NatDiscovery | undefined;
  /** A bound socket for each `udp` listener by its id, owned by the main thread. */
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
  /** Of an {@link AuthenticateModule}: the module, and its data at this thread's start. */
  readonly authenticate: { readonly module: string; readonly data: unknown };
  /** False: no penalties for who guesses. */
  readonly penalties: PenaltySettings | false;
  readonly trafficReportSeconds: number | undefined;
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
  /** See `EventInterest`, `SourceRates` and `ActorRates`. */
  readonly interest: SharedArrayBuffer;
  /** See `OpenAdmission`. */
  readonly openAdmission: SharedArrayBuffer;
  readonly sourceRates: SharedArrayBuffer;
  readonly actorRates: SharedArrayBuffer;
  /** One integer that grows with each message to the reactor. */
  readonly control: SharedArrayBuffer;
  /** Address of the plane's arena, which outlives the thread; −1: the plane takes memory of its own. */
  readonly arena: number;
}

/** A packet of a client that is connected to another reactor, or was handed over by it. */
export interface ForeignPacket {
  readonly listener: number;
  readonly connection: number;
  readonly client: TransportAddress;
  readonly bytes: Uint8Array;
}

/** A port that another reactor holds is wanted (RESERVATION-TOKEN). */
export interface ReservationClaim {
  /** The claimant's name for it. */
  readonly id: number;
  readonly reservation: number;
  /** The reactor that wants it. */
  readonly claimant: number;
}

/** From the main thread. */
export type ToWorker =
  | ({ readonly kind: "handedOver" } & ForeignPacket)
  | ({ readonly kind: "clientPacket" } & ForeignPacket)
  | ({ readonly kind: "clientClosed" } & Omit<ForeignPacket, "bytes">)
  | { readonly kind: "drain" }
  | { readonly kind: "stop" }
  | { readonly kind: "answer"; readonly id: number; readonly answer: unknown }
  | { readonly kind: "noAnswer"; readonly id: number; readonly reason: string }
  | { readonly kind: "notice"; readonly notice: unknown }
  | { readonly kind: "admission"; readonly questionId: number; readonly decision: AdmissionDecision }
  | { readonly kind: "limits"; readonly limits: EngineLimits }
  | { readonly kind: "peers"; readonly rules: PeerRules }
  /** Whom has it admitted by itself? */
  | { readonly kind: "whoLives" }
  | { readonly kind: "allocationLimits"; readonly changes: readonly LimitChange[] }
  | { readonly kind: "penalties"; readonly settings: PenaltySettings | false }
  | { readonly kind: "ban"; readonly subject: BanSubject; readonly seconds: number; readonly reason: string }
  | { readonly kind: "unban"; readonly subject: BanSubject }
  | { readonly kind: "describe"; readonly id: number }
  | {
      readonly kind: "end";
      readonly id: number;
      readonly selector: AllocationSelector;
      readonly reason: DeletionReason;
    }
  | ({ readonly kind: "surrender" } & ReservationClaim)
  | { readonly kind: "claimed"; readonly id: number; readonly port: HeldPort | undefined };

/** To the main thread. */
export type FromWorker =
  | { readonly kind: "ready" }
  | { readonly kind: "drained" }
  | { readonly kind: "channel"; readonly output: ChannelOutput }
  | { readonly kind: "admit"; readonly question: AdmissionQuestion; readonly draining: boolean }
  | { readonly kind: "commit" | "release"; readonly questionId: number }
  /** Those whom it has admitted by itself and has not told of: from here on, their `release` is told. */
  | { readonly kind: "admitted"; readonly questions: readonly AdmissionQuestion[] }
  /** What lives: nobody listened before, and what was told of others doesn't count. Nothing, when nobody listens any more. */
  | { readonly kind: "living"; readonly allocations: readonly AllocationDescription[] }
  | { readonly kind: "failedAttempt"; readonly source: AttemptSource }
  | { readonly kind: "described"; readonly id: number; readonly allocations: readonly AllocationDescription[] }
  | { readonly kind: "ended"; readonly id: number; readonly count: number }
  | { readonly kind: "events"; readonly events: readonly LifecycleEvent[] }
  | { readonly kind: "handOver"; readonly engine: number; readonly packet: ForeignPacket }
  | {
      readonly kind: "sendToClient";
      readonly listener: number;
      readonly connection: number;
      readonly bytes: Uint8Array;
    }
  | { readonly kind: "closeClient"; readonly listener: number; readonly connection: number }
  | { readonly kind: "ask"; readonly id: number; readonly question: unknown }
  | { readonly kind: "claim"; readonly owner: number; readonly claim: ReservationClaim }
  | { readonly kind: "surrendered"; readonly claim: ReservationClaim; readonly port: HeldPort | undefined }
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
  /** Of the guess defence. */
  penaltyDiscarded: 7,
  penaltyWaiting: 8,
  penaltySources: 9,
} as const;

/** How many there are. */
export const GAUGES: number = Object.keys(Gauge).length;

/** Where a packet came from, as an engine takes it. */
export function sourceOf(packet: Omit<ForeignPacket, "bytes">): ClientSource {
  const remote = new AddressRegister();
  remote.set(packet.client);
  const source = new ClientSource(remote);
  source.listener = packet.listener;
  source.connection = packet.connection;
  return source;
}

/** What a reactor wants of others. */
export type ForeignMessage = Extract<
  FromWorker,
  { kind: "handOver" | "sendToClient" | "closeClient" | "claim" | "surrendered" }
>;

/** What others give a reactor. */
export type ForeignInput = Extract<
  ToWorker,
  { kind: "handedOver" | "clientPacket" | "clientClosed" | "surrender" | "claimed" | "notice" }
>;
