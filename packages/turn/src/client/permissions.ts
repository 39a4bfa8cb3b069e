import { attribute, withPort, xorPeerAddress, type EncodedAttribute, type IpAddress } from "@turnpike/stun";
import type { Now } from "../server/contract.ts";
import type { ClientCore, Upkeep } from "./core.ts";
import type { Outcome } from "./exchanges.ts";
import type { ClientFailure } from "./failure.ts";

/** RFC 8656 §9: fixed. */
export const PERMISSION_LIFETIME_MS = 300_000;
/** Peers in one request: with IPv6 addresses it stays below what every path carries unfragmented. */
export const MAXIMUM_PEERS_PER_REQUEST = 32;

/** What the client believes of a permission. It errs on the safe side: the server's lasts longer. */
class Permission implements Upkeep {
  readonly kind = "upkeep";
  readonly peer: IpAddress;
  readonly #permissions: Permissions;
  /** Undefined while the first request for it is under way. */
  expiresAtMs: number | undefined;
  /** Whether it is refreshed before it runs out. */
  kept = false;
  refreshing = false;
  lastFailure: ClientFailure | undefined;
  dueAtMs = 0;

  constructor(peer: IpAddress, permissions: Permissions) {
    this.peer = peer;
    this.#permissions = permissions;
  }

  handleTimer(now: Now): void {
    this.#permissions.handleTimer(this, now);
  }
}

/** The permissions of an allocation, kept up until they are forgotten (RFC 8656 §9, §10). */
export class Permissions {
  readonly #core: ClientCore;
  readonly #byPeer = new Map<string, Permission>();

  constructor(core: ClientCore) {
    this.#core = core;
  }

  /** Whether data from a peer is expected: a permission for it was asked for and hasn't run out (RFC 8656 §11.4). */
  isExpected(peer: IpAddress, now: Now): boolean {
    const permission = this.#byPeer.get(ipName(peer));
    if (permission === undefined) return false;
    return permission.expiresAtMs === undefined || permission.expiresAtMs > now.monotonicMs;
  }

  /** Addresses with a living permission. */
  peers(now: Now): IpAddress[] {
    return [...this.#byPeer.values()]
      .filter(({ expiresAtMs }) => expiresAtMs !== undefined && expiresAtMs > now.monotonicMs)
      .map(({ peer }) => peer);
  }

  /**
   * @throws RangeError if there are none, or too many for one request.
   */
  permit(operation: number, peers: readonly IpAddress[], now: Now): void {
    if (peers.length === 0 || peers.length > MAXIMUM_PEERS_PER_REQUEST) {
      throw new RangeError(`Cannot permit ${peers.length} peers at once: expected 1 to ${MAXIMUM_PEERS_PER_REQUEST}`);
    }
    for (const peer of peers) this.expect(peer);
    const ask = { method: "createPermission", attributes: attributesOf(peers), authenticated: true } as const;
    this.#core.ask(
      operation,
      ask,
      (outcome) => {
        if (outcome.ok) {
          for (const peer of peers) this.installed(peer, outcome.sentAtMs);
          this.#core.complete(operation, { method: "permit" });
          return;
        }
        for (const peer of peers) this.unexpect(peer);
        if (!this.#core.isMismatch(outcome.failure)) this.#core.fail(operation, outcome.failure);
      },
      now,
    );
  }

  /** A request that installs a permission is on its way: data may come before its answer. */
  expect(peer: IpAddress): void {
    if (!this.#byPeer.has(ipName(peer))) this.#byPeer.set(ipName(peer), new Permission(keepIp(peer), this));
  }

  /** The request failed: if there was no permission before, there is none. */
  unexpect(peer: IpAddress): void {
    if (this.#byPeer.get(ipName(peer))?.expiresAtMs === undefined) this.#byPeer.delete(ipName(peer));
  }

  /** A request that went out at `sentAtMs` installed or refreshed it, and it is to be kept. */
  installed(peer: IpAddress, sentAtMs: number): void {
    this.expect(peer);
    const permission = this.#byPeer.get(ipName(peer))!;
    permission.kept = true;
    this.#renew(permission, sentAtMs);
  }

  forget(peer: IpAddress): void {
    const permission = this.#byPeer.get(ipName(peer));
    if (permission === undefined) return;
    permission.kept = false;
    if (permission.expiresAtMs !== undefined) this.#core.timers.set(permission, permission.expiresAtMs);
  }

  clear(): void {
    for (const permission of this.#byPeer.values()) this.#core.timers.delete(permission);
    this.#byPeer.clear();
  }

  handleTimer(permission: Permission, now: Now): void {
    const expiresAtMs = permission.expiresAtMs ?? 0;
    if (expiresAtMs <= now.monotonicMs) {
      this.#byPeer.delete(ipName(permission.peer));
      const failure: ClientFailure = permission.lastFailure ?? { code: "timeout", transmissions: 0 };
      if (permission.kept) this.#core.output({ kind: "permissionLost", peer: permission.peer, failure });
      return;
    }
    this.#refresh(this.#dueWith(permission, now), now);
  }

  /** What is due soon goes along, so that many permissions need few requests. */
  #dueWith(first: Permission, now: Now): Permission[] {
    const soonMs = now.monotonicMs + PERMISSION_LIFETIME_MS / 10;
    const due = [first];
    for (const other of this.#byPeer.values()) {
      if (due.length === MAXIMUM_PEERS_PER_REQUEST) break;
      const alive = other.expiresAtMs !== undefined && other.expiresAtMs > now.monotonicMs;
      if (other !== first && other.kept && !other.refreshing && alive && other.dueAtMs <= soonMs) due.push(other);
    }
    return due;
  }

  #refresh(due: readonly Permission[], now: Now): void {
    for (const permission of due) {
      permission.refreshing = true;
      // Should the answer not come in time, this is when it is lost.
      this.#core.timers.set(permission, permission.expiresAtMs!);
    }
    const attributes = attributesOf(due.map(({ peer }) => peer));
    const settle = (outcome: Outcome, at: Now): void => this.#refreshed(due, outcome, at);
    this.#core.exchanges.start({ method: "createPermission", attributes, authenticated: true, settle }, now);
  }

  #refreshed(due: readonly Permission[], outcome: Outcome, now: Now): void {
    const living = due.filter((permission) => this.#byPeer.get(ipName(permission.peer)) === permission);
    for (const permission of living) permission.refreshing = false;
    if (outcome.ok) {
      for (const permission of living) this.#renew(permission, outcome.sentAtMs);
      return;
    }
    const { failure } = outcome;
    if (this.#core.isMismatch(failure)) return;
    // All or none are refreshed (RFC 8656 §10.2): one by one shows which of them is the refused one.
    if (failure.code === "refused" && living.length > 1) {
      for (const permission of living) this.#refresh([permission], now);
      return;
    }
    for (const permission of living) {
      permission.lastFailure = failure;
      if (failure.code === "refused" && failure.error.code === 403) {
        this.#core.timers.set(permission, permission.expiresAtMs!);
      } else {
        this.#due(permission, this.#core.retryAtMs(permission.expiresAtMs!, now));
      }
    }
  }

  #renew(permission: Permission, sentAtMs: number): void {
    permission.expiresAtMs = Math.max(permission.expiresAtMs ?? 0, sentAtMs + PERMISSION_LIFETIME_MS);
    permission.lastFailure = undefined;
    const dueAtMs = sentAtMs + PERMISSION_LIFETIME_MS * this.#core.options.refreshFraction;
    if (permission.kept) this.#due(permission, dueAtMs);
    else this.#core.timers.set(permission, permission.expiresAtMs);
  }

  #due(permission: Permission, dueAtMs: number): void {
    permission.dueAtMs = dueAtMs;
    this.#core.timers.set(permission, dueAtMs);
  }
}

/** An IP address as a key. */
export function ipName({ family, w0, w1, w2, w3 }: IpAddress): string {
  return `${family}/${w0}/${w1}/${w2}/${w3}`;
}

function keepIp({ family, w0, w1, w2, w3 }: IpAddress): IpAddress {
  return { family, w0, w1, w2, w3 };
}

/** RFC 8656 §10.1: the port doesn't matter. */
function attributesOf(peers: readonly IpAddress[]): EncodedAttribute[] {
  return peers.map((peer) => attribute(xorPeerAddress, withPort(peer, 0)));
}
