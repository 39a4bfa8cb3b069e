import {
  encodeUtf8,
  passwordAlgorithmNumbers,
  passwordAlgorithms,
  type StunCrypto,
  type StunMessage,
} from "@turnpike/stun";
import type { Allocation, ClientAddress } from "./allocation.ts";
import type { Listener, Now, Output, ServerOptions } from "./contract.ts";
import type { AllocationContext, DeletionReason, FiveTuple, LifecycleEvent } from "./events.ts";
import type { EngineLimits } from "./limits.ts";
import { Nonces } from "./nonce.ts";
import { Registry } from "./registry.ts";
import { ReplyLimiter } from "./reply-limiter.ts";
import { Slab } from "./slab.ts";

/** Defaults of {@link ServerOptions}, and what the RFCs fix. */
const DEFAULTS = {
  nonceLifetimeSeconds: 600,
  maxLifetimeSeconds: 3600,
  channelLifetimeSeconds: 600,
  maxPermissionsPerAllocation: 1000,
  maxChannelsPerAllocation: 1000,
  maxConnectionsPerAllocation: 100,
  maxPendingAuthentications: 1000,
  maxPendingAuthenticationsPerPrefix: 50,
  unauthenticatedBytesPerSecond: 65_536,
  minimumIntegrityBytes: 32,
} as const;

/** RFC 8656 §3.2: what an allocation lives for if nobody asks for more. */
const DEFAULT_LIFETIME_SECONDS = 600;
/** RFC 8656 §9: fixed. */
export const PERMISSION_LIFETIME_MS = 300_000;
/** RFC 8656 §12: how long a channel's number and peer stay apart from others after it expired. */
export const CHANNEL_COOLDOWN_MS = 300_000;

/** What numbers may be. All but the first are whole: they count, go on the wire or set timers. */
const RANGES: readonly (readonly [name: NumericOption, least: number, most: number])[] = [
  ["nonceLifetimeSeconds", 0.001, 3600],
  ["engine", 0, 254],
  ["engines", 1, 255],
  ["maxLifetimeSeconds", 1, 0xffff_ffff],
  ["channelLifetimeSeconds", 1, 0xffff_ffff],
  ["maxPermissionsPerAllocation", 0, Number.MAX_SAFE_INTEGER],
  ["maxChannelsPerAllocation", 0, Number.MAX_SAFE_INTEGER],
  ["maxConnectionsPerAllocation", 0, Number.MAX_SAFE_INTEGER],
  ["maxPendingAuthentications", 0, Number.MAX_SAFE_INTEGER],
  ["maxPendingAuthenticationsPerPrefix", 0, Number.MAX_SAFE_INTEGER],
  ["unauthenticatedBytesPerSecond", 0, Number.MAX_SAFE_INTEGER],
  ["minimumIntegrityBytes", 16, 32],
  ["trafficReportSeconds", 1, 0xffff_ffff],
];

/** @throws RangeError that names the limit. */
export function checkEngineLimits(limits: EngineLimits): void {
  checkRanges(limits);
}

type NumericOption = {
  [Key in keyof ServerOptions]-?: NonNullable<ServerOptions[Key]> extends number ? Key : never;
}[keyof ServerOptions];

/** A lifetime or a report that isn't a positive number would be a timer that rings for ever. */
function checkRanges(options: Pick<ServerOptions, NumericOption>): void {
  for (const [name, least, most] of RANGES) {
    const value = options[name];
    if (value === undefined || (value === Infinity && name === "unauthenticatedBytesPerSecond")) continue;
    const isWhole = Number.isInteger(value) || name === "nonceLifetimeSeconds";
    if (!isWhole || !(value >= least && value <= most)) {
      throw new RangeError(
        `Cannot use ${value} for ${name}: it must be ${isWhole ? "" : "a whole number "}from ${least} to ${most}`,
      );
    }
  }
}

/** A request, decoded, with where it came from. */
export interface IncomingRequest {
  readonly message: StunMessage;
  readonly client: ClientAddress;
}

/** What all handlers share: settings, living things, the outputs that wait, and nothing else. */
export class Core {
  readonly options: ServerOptions & Required<Pick<ServerOptions, keyof typeof DEFAULTS>>;
  readonly crypto: StunCrypto;
  readonly registry: Registry;
  readonly nonces: Nonces;
  readonly replyLimiter: ReplyLimiter;
  /** Memory for messages by datagrams; those of streams may wait long to be sent. */
  readonly slab: Slab = new Slab();
  /** The value of PASSWORD-ALGORITHMS. */
  readonly offer: Uint8Array;
  /** The value of REALM. */
  readonly realm: Uint8Array;
  readonly engine: number;
  readonly families: readonly (4 | 6)[];
  readonly passwordAlgorithms: readonly ("md5" | "sha256")[];
  /** Called with each allocation that is about to go, for what hangs on it outside the registry. */
  readonly beforeDelete: ((allocation: Allocation, now: Now, reason: DeletionReason) => void)[] = [];
  readonly #listeners = new Map<number, Listener>();
  #outputs: Output[] = [];
  #next = 0;
  #lastQuestionId = 0;
  #lastAllocationId = 0;

  constructor(options: ServerOptions) {
    this.options = { ...DEFAULTS, ...options };
    checkRanges(this.options);
    this.crypto = options.crypto;
    this.realm = encodeUtf8(options.realm);
    this.engine = options.engine ?? 0;
    this.families = options.families ?? [4, 6];
    this.passwordAlgorithms = options.passwordAlgorithms ?? ["sha256", "md5"];
    this.offer = passwordAlgorithms.encode(
      this.passwordAlgorithms.map((name) => ({
        algorithm: passwordAlgorithmNumbers[name],
        parameters: new Uint8Array(0),
      })),
      { transactionId: new Uint8Array(12) },
    );
    for (const listener of options.listeners) this.#listeners.set(listener.id, listener);
    this.registry = new Registry(() => this.seed());
    this.nonces = new Nonces({
      key: options.nonceKey,
      crypto: options.crypto,
      lifetimeSeconds: this.options.nonceLifetimeSeconds,
      usernameAnonymity: options.usernameAnonymity ?? false,
    });
    this.replyLimiter = new ReplyLimiter({
      bytesPerSecond: this.options.unauthenticatedBytesPerSecond,
      seed: this.seed(),
    });
  }

  /** For a hash whose collisions nobody may choose. */
  seed(): number {
    return new DataView(new Uint8Array(this.options.random(4)).buffer).getInt32(0);
  }

  listener(id: number): Listener {
    const listener = this.#listeners.get(id);
    if (listener === undefined) throw new RangeError(`There is no listener ${id}`);
    return listener;
  }

  isStream(id: number): boolean {
    const transport = this.listener(id).transport;
    return transport !== "udp" && transport !== "dtls";
  }

  output(output: Output): void {
    this.#outputs.push(output);
  }

  /** Where the next output will stand, for {@link outputAt}. */
  get outputPosition(): number {
    return this.#outputs.length;
  }

  /** Puts an output before those that came since. */
  outputAt(position: number, output: Output): void {
    this.#outputs.splice(position, 0, output);
  }

  poll(): Output | undefined {
    if (this.#next === this.#outputs.length) {
      if (this.#next > 0) {
        this.#outputs = [];
        this.#next = 0;
      }
      return undefined;
    }
    return this.#outputs[this.#next++];
  }

  nextQuestionId(): number {
    return ++this.#lastQuestionId;
  }

  nextAllocationId(): number {
    return ++this.#lastAllocationId;
  }

  /** The longest lifetime that may be granted, in seconds. */
  lifetimeSeconds(requested: number | undefined, most: number): number {
    const longest = Math.min(most, this.options.maxLifetimeSeconds);
    // RFC 8656 §7.2: the default is granted even to those who ask for less, unless the operator caps it lower.
    return Math.min(longest, Math.max(DEFAULT_LIFETIME_SECONDS, requested ?? 0));
  }

  /** Whether anybody listens to events of a type: without that they aren't built. */
  wants(type: LifecycleEvent["type"]): boolean {
    const { events } = this.options;
    return typeof events === "function" ? events(type) : events === true;
  }

  /** Takes limits over for what comes from here on. @throws RangeError that names the limit; then none has changed. */
  setLimits(limits: EngineLimits): void {
    checkRanges(limits);
    Object.assign(this.options, limits);
    this.replyLimiter.configure(this.options.unauthenticatedBytesPerSecond);
  }

  event(event: LifecycleEvent): void {
    this.output({ kind: "event", event });
  }

  fiveTuple(client: ClientAddress): FiveTuple {
    return { transport: client.transport, client: client.remote, server: this.listener(client.listener).local };
  }

  context(allocation: Allocation, now: Now): AllocationContext {
    const { username, actor, scheme } = allocation.credential;
    return {
      allocationId: allocationId(this, allocation),
      username,
      realm: this.options.realm,
      actor,
      scheme,
      fiveTuple: this.fiveTuple(allocation.client),
      relayed: allocation.relays.map((relay) => relay.relayed),
      atUnixMs: now.unixMs,
    };
  }
}

/** The id of an allocation as the world knows it: unique in the life of the relay. */
export function allocationId(core: Core, allocation: Allocation): string {
  return `${core.engine}-${allocation.id}`;
}
