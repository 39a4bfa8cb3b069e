import {
  attribute,
  channelNumber,
  MAXIMUM_CHANNEL,
  MINIMUM_CHANNEL,
  sameIp,
  withPort,
  xorPeerAddress,
  type IpAddress,
  type TransportAddress,
} from "@turnpike/stun";
import type { Now } from "../server/contract.ts";
import type { ClientCore, Upkeep } from "./core.ts";
import type { Outcome } from "./exchanges.ts";
import type { ClientFailure } from "./failure.ts";
import { ipName, type Permissions } from "./permissions.ts";

/** RFC 8656 §12. */
const CHANNEL_LIFETIME_MS = 600_000;
/** RFC 8656 §12: how long number and peer stay together after the binding ran out. */
const COOLDOWN_MS = 300_000;

/** What the client believes of a channel. */
class Channel implements Upkeep {
  readonly kind = "upkeep";
  readonly number: number;
  readonly peer: TransportAddress;
  readonly #channels: Channels;
  state: "binding" | "bound" | "cooling" = "binding";
  /** Operations that wait for the binding. */
  waiting: number[] = [];
  /** When the binding ends, as far as the client can be sure. */
  expiresAtMs = 0;
  kept = true;
  refreshing = false;
  lastFailure: ClientFailure | undefined;

  constructor(number: number, peer: TransportAddress, channels: Channels) {
    this.number = number;
    this.peer = peer;
    this.#channels = channels;
  }

  handleTimer(now: Now): void {
    this.#channels.handleTimer(this, now);
  }
}

/** The channels of an allocation, kept up until they are forgotten (RFC 8656 §12). */
export class Channels {
  readonly #core: ClientCore;
  readonly #permissions: Permissions;
  readonly #byNumber = new Map<number, Channel>();
  readonly #byPeer = new Map<string, Channel>();
  #lastNumber = MINIMUM_CHANNEL - 1;

  constructor(core: ClientCore, permissions: Permissions) {
    this.#core = core;
    this.#permissions = permissions;
  }

  /** The number to send by, or 0. */
  numberOf(peer: TransportAddress, now: Now): number {
    if (this.#byPeer.size === 0) return 0;
    const channel = this.#byPeer.get(peerName(peer));
    return channel?.state === "bound" && channel.expiresAtMs > now.monotonicMs ? channel.number : 0;
  }

  /** Whom data by a channel come from. A binding whose answer is still under way counts. */
  peerOf(number: number): TransportAddress | undefined {
    const channel = this.#byNumber.get(number);
    return channel?.state === "cooling" ? undefined : channel?.peer;
  }

  /** Channels that are bound: number and peer. */
  bound(now: Now): { readonly channel: number; readonly peer: TransportAddress }[] {
    return [...this.#byNumber.values()]
      .filter(({ state, expiresAtMs }) => state === "bound" && expiresAtMs > now.monotonicMs)
      .map(({ number, peer }) => ({ channel: number, peer }));
  }

  /** @throws RangeError if the peer has no port. */
  bind(operation: number, peer: TransportAddress, now: Now): void {
    if (peer.port === 0) throw new RangeError("Cannot bind a channel: the peer has no port");
    let channel = this.#byPeer.get(peerName(peer));
    if (channel === undefined) {
      const number = this.#freeNumber();
      if (number === undefined) {
        this.#core.fail(operation, { code: "noChannelFree" });
        return;
      }
      channel = new Channel(number, withPort(peer, peer.port), this);
      this.#byNumber.set(number, channel);
      this.#byPeer.set(peerName(peer), channel);
    }
    channel.kept = true;
    channel.waiting.push(operation);
    if (!channel.refreshing) this.#request(channel, now);
  }

  /** Lets the channels to an address run out. */
  forget(peer: IpAddress): void {
    for (const channel of this.#byNumber.values()) {
      if (!sameIp(channel.peer, peer)) continue;
      channel.kept = false;
      if (channel.state === "bound") this.#core.timers.set(channel, channel.expiresAtMs);
    }
  }

  clear(): void {
    for (const channel of this.#byNumber.values()) this.#core.timers.delete(channel);
    this.#byNumber.clear();
    this.#byPeer.clear();
  }

  handleTimer(channel: Channel, now: Now): void {
    if (channel.state === "cooling") {
      this.#remove(channel);
      return;
    }
    if (channel.kept && channel.expiresAtMs > now.monotonicMs) {
      this.#request(channel, now);
      return;
    }
    const { number, peer, kept, lastFailure } = channel;
    this.#cool(channel, now);
    channel.kept = false;
    const failure = lastFailure ?? ({ code: "timeout", transmissions: 0 } as const);
    if (kept) this.#core.output({ kind: "channelLost", peer, channel: number, failure });
  }

  #request(channel: Channel, now: Now): void {
    channel.refreshing = true;
    if (channel.state === "cooling") channel.state = "binding";
    if (channel.state === "bound") this.#core.timers.set(channel, channel.expiresAtMs);
    else this.#core.timers.delete(channel);
    this.#permissions.expect(channel.peer);
    const settle = (outcome: Outcome, at: Now): void => this.#settled(channel, outcome, at);
    const attributes = [attribute(channelNumber, channel.number), attribute(xorPeerAddress, channel.peer)];
    this.#core.exchanges.start({ method: "channelBind", attributes, authenticated: true, settle }, now);
  }

  #settled(channel: Channel, outcome: Outcome, now: Now): void {
    if (this.#byNumber.get(channel.number) !== channel) return;
    channel.refreshing = false;
    const waiting = channel.waiting.splice(0);
    if (outcome.ok) {
      channel.state = "bound";
      channel.lastFailure = undefined;
      channel.expiresAtMs = outcome.sentAtMs + CHANNEL_LIFETIME_MS;
      const dueAtMs = outcome.sentAtMs + CHANNEL_LIFETIME_MS * this.#core.options.refreshFraction;
      this.#core.timers.set(channel, channel.kept ? dueAtMs : channel.expiresAtMs);
      if (channel.kept) this.#permissions.installed(channel.peer, outcome.sentAtMs);
      for (const operation of waiting) {
        this.#core.complete(operation, { method: "bindChannel", channel: channel.number });
      }
      return;
    }
    this.#permissions.unexpect(channel.peer);
    const { failure } = outcome;
    if (this.#core.isMismatch(failure)) return;
    for (const operation of waiting) this.#core.fail(operation, failure);
    channel.lastFailure = failure;
    if (channel.state === "bound") {
      const final = failure.code === "refused" && failure.error.code === 403;
      const againAtMs = final ? channel.expiresAtMs : this.#core.retryAtMs(channel.expiresAtMs, now);
      this.#core.timers.set(channel, againAtMs);
    } else if (failure.code === "refused") {
      this.#remove(channel);
    } else {
      // The server may have bound it without our knowing: the number belongs to this peer until that is over.
      channel.expiresAtMs = now.monotonicMs + CHANNEL_LIFETIME_MS;
      this.#cool(channel, now);
    }
  }

  #cool(channel: Channel, now: Now): void {
    channel.state = "cooling";
    this.#core.timers.set(channel, Math.max(channel.expiresAtMs, now.monotonicMs) + COOLDOWN_MS + SLACK_MS);
  }

  #remove(channel: Channel): void {
    this.#core.timers.delete(channel);
    this.#byNumber.delete(channel.number);
    this.#byPeer.delete(peerName(channel.peer));
  }

  #freeNumber(): number | undefined {
    for (let tried = 0; tried <= MAXIMUM_CHANNEL - MINIMUM_CHANNEL; tried++) {
      this.#lastNumber = this.#lastNumber >= MAXIMUM_CHANNEL ? MINIMUM_CHANNEL : this.#lastNumber + 1;
      if (!this.#byNumber.has(this.#lastNumber)) return this.#lastNumber;
    }
    return undefined;
  }
}

/** The server's cooling begins later than the client's, by as long as an answer may take. */
const SLACK_MS = 40_000;

function peerName(peer: TransportAddress): string {
  return `${ipName(peer)}:${peer.port}`;
}
