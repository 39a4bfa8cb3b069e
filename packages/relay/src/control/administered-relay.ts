import type { BanSubject, OperationContext } from "@turnpike/authn";
import type { AllocationDescription, DeletionReason } from "@turnpike/turn";
import type { AllocationSelector } from "../allocation-selector.ts";
import type { StandingBan } from "../defence/guess-defence.ts";
import type { EventStream, EventStreamOptions } from "../events/event-stream.ts";
import type { PeerRules } from "../relay-options.ts";
import type { Administration, BanRequest, RelayLimits } from "./administration.ts";

/** What every relay can be asked by those who run it. */
export interface AdministeredRelay {
  /** Living allocations, of one user or of all, with their traffic until this moment. */
  allocations(options?: { readonly user?: string }): Promise<readonly AllocationDescription[]>;
  /** Events from here on, for `for await`. */
  events(options?: EventStreamOptions): EventStream;
  /** Ends the allocation of this id; whether there was one. Its client learns of it by its next request (437). */
  end(ctx: OperationContext, id: string, reason?: DeletionReason): Promise<boolean>;
  /** Ends all allocations of a user; the number of them. */
  endUser(ctx: OperationContext, actor: string, reason?: DeletionReason): Promise<number>;
  /** Ends all allocations that were made with a credential; the number of them. */
  endCredential(ctx: OperationContext, credentialId: string, reason?: DeletionReason): Promise<number>;
  /** Ends the allocations that are meant; the number of them. For the program's own decisions, such as revocation. */
  endAllocations(selector: AllocationSelector, reason: DeletionReason): Promise<number>;
  /** The bans that stand, those by the guess defence among them. */
  bans(): readonly StandingBan[];
  /**
   * Shuts a network or a user out for a while: its requests get silence. Ends its allocations; the number of them.
   * Rejects with a RangeError unless the time is positive.
   */
  ban(ctx: OperationContext, request: BanRequest): Promise<number>;
  /** Lets a network or a user in again; whether it was banned. */
  unban(ctx: OperationContext, subject: BanSubject): boolean;
  /**
   * Takes limits over, in place of those that were; what isn't named is as it was at the start, or without limit. What
   * lives stays, and is held to new rates and penalties at once: where a slow `limitsFor` tells them, when it has. New
   * lifetimes hold from the next Refresh on; a lower quota lets nobody in before enough have gone.
   *
   * @throws TypeError or RangeError that names what makes no sense; then nothing has changed
   */
  configure(limits: RelayLimits): void;
  /**
   * Takes rules for peers over, in place of those that were. Permissions, channels and TCP connections that stand and
   * are denied end at once.
   *
   * @throws TypeError naming the range that can't be read; then nothing has changed
   */
  replacePeers(rules: PeerRules): void;
}

/** {@link AdministeredRelay} by an {@link Administration}. */
export abstract class Administered implements AdministeredRelay {
  protected readonly administration: Administration;

  constructor(administration: Administration) {
    this.administration = administration;
  }

  allocations({ user }: { readonly user?: string } = {}): Promise<readonly AllocationDescription[]> {
    return this.administration.allocations(user);
  }

  events(options?: EventStreamOptions): EventStream {
    return this.administration.events(options);
  }

  async end(ctx: OperationContext, id: string, reason?: DeletionReason): Promise<boolean> {
    return (await this.administration.end(ctx, { by: "id", value: id }, reason)) > 0;
  }

  endUser(ctx: OperationContext, actor: string, reason?: DeletionReason): Promise<number> {
    return this.administration.end(ctx, { by: "actor", value: actor }, reason);
  }

  endCredential(
    ctx: OperationContext,
    credentialId: string,
    reason: DeletionReason = "credentialRevoked",
  ): Promise<number> {
    return this.administration.end(ctx, { by: "credentialId", value: credentialId }, reason);
  }

  endAllocations(selector: AllocationSelector, reason: DeletionReason): Promise<number> {
    return this.administration.endAllocations(selector, reason);
  }

  bans(): readonly StandingBan[] {
    return this.administration.bans();
  }

  ban(ctx: OperationContext, request: BanRequest): Promise<number> {
    return this.administration.ban(ctx, request);
  }

  unban(ctx: OperationContext, subject: BanSubject): boolean {
    return this.administration.unban(ctx, subject);
  }

  configure(limits: RelayLimits): void {
    this.administration.configure(limits);
  }

  replacePeers(rules: PeerRules): void {
    this.administration.setPeers(rules);
  }
}
