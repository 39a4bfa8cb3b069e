import type { IpAddress } from "@turnpike/stun";
import { createPeerPolicy, type PeerDecision, type PeerPolicy } from "@turnpike/turn";
import type { PeerRules } from "./relay-options.ts";

/** A peer policy whose rules can change while an engine asks it. */
export class ReplaceablePeerPolicy implements PeerPolicy {
  #policy: PeerPolicy;

  /** @throws TypeError naming the range that can't be read */
  constructor(rules: PeerRules = {}) {
    this.#policy = createPeerPolicy(rules);
  }

  decide(peer: IpAddress): PeerDecision {
    return this.#policy.decide(peer);
  }

  /**
   * Engines that ask it must be told (`TurnServer.enforcePeerPolicy`).
   *
   * @throws TypeError naming the range that can't be read; then the rules before stay
   */
  replace(rules: PeerRules): void {
    this.#policy = createPeerPolicy(rules);
  }
}
