import type { TurnServer } from "@turnpike/turn";
import { selects } from "../allocation-selector.ts";
import type { ThreadAuthenticator } from "../authenticate-module.ts";
import type { GuessDefence } from "../defence/guess-defence.ts";
import type { BatchedPlane } from "../planes/batched/batched-plane.ts";
import type { Clock } from "../reactor/clock.ts";
import type { Reactor } from "../reactor/reactor.ts";
import type { RelaySockets } from "../reactor/relay-sockets.ts";
import type { ReservationClaims } from "../reactor/reservation-claims.ts";
import type { ReplaceablePeerPolicy } from "../replaceable-peer-policy.ts";
import type { MainThread } from "./main-thread.ts";
import { sourceOf, type ToWorker } from "./protocol.ts";
import type { ThreadAdmission } from "./thread-admission.ts";

/** What {@link Orders} are carried out on. */
export interface OrdersOptions {
  readonly mainThread: MainThread;
  readonly reactor: Reactor;
  readonly engine: TurnServer;
  readonly plane: Pick<BatchedPlane, "stop">;
  readonly relaySockets: RelaySockets;
  readonly claims: ReservationClaims;
  readonly admission: ThreadAdmission;
  readonly peerPolicy: ReplaceablePeerPolicy;
  readonly defence: GuessDefence;
  readonly authenticator: ThreadAuthenticator;
  readonly clock: Clock;
  /** Has the main thread see what has happened. */
  readonly show: () => void;
}

/** Carries out what the main thread says. */
export class Orders {
  readonly #options: OrdersOptions;
  #isStopped = false;
  #hasResolved = false;

  constructor(options: OrdersOptions) {
    this.#options = options;
  }

  /** The last order was to stop: no other follows. */
  get isStopped(): boolean {
    return this.#isStopped;
  }

  /** Whether something may have resolved a promise of this thread since this was last asked. */
  takeResolved(): boolean {
    // Whoever drains waits for the last one by a promise.
    const hasResolved = this.#hasResolved || this.#options.admission.isDrained;
    this.#hasResolved = false;
    return hasResolved;
  }

  carryOut(message: ToWorker): void {
    const { mainThread, reactor, engine, relaySockets, claims, admission, defence } = this.#options;
    switch (message.kind) {
      case "drain":
        void admission.drain().then(() => mainThread.post({ kind: "drained" }));
        return;
      case "admission": {
        const { questionId, decision } = message;
        admission.settle(questionId, decision);
        reactor.handleAnswer({ kind: "admission", questionId, ...decision });
        return;
      }
      case "whoLives":
        admission.tellWhoLives();
        return;
      case "limits":
        engine.setLimits(message.limits);
        return;
      case "peers":
        reactor.administer((now) => {
          this.#options.peerPolicy.replace(message.rules);
          engine.enforcePeerPolicy(now);
        });
        return;
      case "allocationLimits":
        reactor.administer(() => engine.changeAllocationLimits(message.changes));
        return;
      case "penalties":
        defence.configure(message.settings);
        return;
      case "ban":
        defence.ban(message);
        return;
      case "unban":
        defence.unban(message.subject);
        return;
      case "describe": {
        const allocations = [...engine.describeAllocations(this.#options.clock.now())];
        mainThread.post({ kind: "described", id: message.id, allocations });
        return;
      }
      case "end":
        this.#end(message);
        return;
      case "answer":
      case "noAnswer":
        mainThread.settle(message);
        this.#hasResolved = true;
        return;
      case "notice":
        this.#takeNotice(message.notice);
        return;
      case "surrender": {
        const { id, reservation, claimant } = message;
        relaySockets.surrender(reservation, claimant, (port) =>
          mainThread.post({ kind: "surrendered", claim: { id, reservation, claimant }, port }),
        );
        return;
      }
      case "claimed":
        if (!claims.settle(message.id, message.port) && message.port !== undefined) relaySockets.decline(message.port);
        return;
      case "handedOver":
        reactor.handleHandedOver(sourceOf(message), message.bytes);
        return;
      case "clientPacket":
        reactor.handleClientPacket(sourceOf(message), message.bytes, 0, message.bytes.length);
        return;
      case "clientClosed":
        reactor.handleClientClosed(sourceOf(message));
        return;
      case "stop":
        this.#stop();
        return;
    }
  }

  #end({ id, selector, reason }: Extract<ToWorker, { kind: "end" }>): void {
    const { mainThread, reactor, engine, show } = this.#options;
    let count = 0;
    reactor.administer((now) => {
      count = engine.endAllocations(selects(selector), reason, now);
    });
    // What it made happen is told before the answer.
    show();
    mainThread.post({ kind: "ended", id, count });
  }

  #takeNotice(notice: unknown): void {
    try {
      this.#options.authenticator.take?.(notice);
    } catch (error) {
      this.#options.mainThread.logger.error({ err: error }, "The authenticator of a thread could not take a notice");
    }
  }

  #stop(): void {
    const { reactor, admission, plane, show, mainThread } = this.#options;
    reactor.stop();
    admission.end();
    void plane.stop();
    show();
    this.#isStopped = true;
    mainThread.close();
  }
}
