import type { TransportAddress } from "@turnpike/stun";
import {
  type Answer,
  type ClientSource,
  type IcmpReport,
  type LifecycleEvent,
  type Now,
  type Output,
  type ServerEngine,
  Verdict,
} from "@turnpike/turn";
import type { Logger } from "../logger.ts";
import type { ForwardingPlane, PacketReceiver } from "../planes/plane.ts";
import { SampledLog } from "../sampled-log.ts";
import type { Clock } from "./clock.ts";
import type { RelaySockets } from "./relay-sockets.ts";

/** The engine asks whether a user may allocate. */
export type AdmissionQuestion = Extract<Output, { kind: "admit" }>;

/** What an admission says. Without `questionId`: the reactor adds it. */
export type AdmissionDecision = Omit<Extract<Answer, { kind: "admission" }>, "kind" | "questionId">;

/** What {@link Reactor} is made with. */
export interface ReactorOptions {
  readonly engine: ServerEngine;
  readonly plane: ForwardingPlane;
  readonly relaySockets: RelaySockets;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Decides on new allocations. */
  readonly admit: (question: AdmissionQuestion) => AdmissionDecision;
  /** Called when an admitted allocation ended. */
  readonly release: (questionId: number) => void;
  /** Takes lifecycle events, after the input that caused them is finished. */
  readonly onEvent?: (event: LifecycleEvent) => void;
}

/**
 * One engine, its plane and its one timer. Every input to the engine goes through here, which holds the engine's
 * invariant: **every input is followed by a complete drain** of its outputs, then the timer is set to what the engine
 * asks for. An answer that comes while the engine is busy waits until its outputs are drained.
 *
 * An input that throws is an error of the program. It is logged and counted, and costs the packet that caused it: one
 * client must not be able to end the relay for all.
 */
export class Reactor implements PacketReceiver {
  readonly #engine: ServerEngine;
  readonly #plane: ForwardingPlane;
  readonly #relaySockets: RelaySockets;
  readonly #clock: Clock;
  readonly #sampledLog: SampledLog;
  readonly #options: ReactorOptions;
  /** Answers that wait until the engine is at rest. */
  readonly #answers: Answer[] = [];
  /** Events that wait until the engine is at rest. */
  #events: LifecycleEvent[] = [];
  #busy = false;
  #stopped = false;
  #wakeAtMs = Infinity;
  #cancelWake: (() => void) | undefined;
  #internalErrors = 0;

  constructor(options: ReactorOptions) {
    this.#options = options;
    this.#engine = options.engine;
    this.#plane = options.plane;
    this.#relaySockets = options.relaySockets;
    this.#clock = options.clock;
    this.#sampledLog = new SampledLog({
      logger: options.logger,
      monotonicMs: () => options.clock.now().monotonicMs,
    });
  }

  /** Inputs that threw: zero, unless the program has an error. */
  get internalErrors(): number {
    return this.#internalErrors;
  }

  handleClientPacket(source: ClientSource, buffer: Uint8Array, offset: number, length: number): void {
    if (this.#stopped) {
      return;
    }
    this.#busy = true;
    let relayed = false;
    try {
      const verdict = this.#engine.handleClientPacket(source, buffer, offset, length, this.#clock.now());
      relayed = this.#forward(verdict, buffer);
    } catch (error) {
      this.#reportInternalError(error);
    }
    this.#settle(relayed);
  }

  handlePeerPacket(socket: number, peer: TransportAddress, buffer: Uint8Array, offset: number, length: number): void {
    if (this.#stopped || !this.#relaySockets.isLive(socket)) {
      return;
    }
    this.#busy = true;
    let relayed = false;
    try {
      const verdict = this.#engine.handlePeerPacket(socket, peer, buffer, offset, length, this.#clock.now());
      relayed = this.#forward(verdict, buffer);
    } catch (error) {
      this.#reportInternalError(error);
    }
    this.#settle(relayed);
  }

  handlePeerIcmp(socket: number, peer: TransportAddress, icmp: IcmpReport): void {
    this.#input((now) => this.#engine.handlePeerIcmp(socket, peer, icmp, now));
  }

  handleRelaySocketError(socket: number, code: string): void {
    this.#sampledLog.warn({ socket, code }, "A relay socket failed: its allocation ends");
    this.#input((now) => this.#engine.handleRelaySocketError(socket, now));
    this.#relaySockets.close(socket);
  }

  /** Gives the engine an answer: at once, or as soon as it is at rest. */
  handleAnswer(answer: Answer): void {
    if (this.#stopped) {
      return;
    }
    this.#answers.push(answer);
    if (!this.#busy) {
      this.#settle();
    }
  }

  /**
   * An input by an administrator: `act` calls the engine.
   *
   * @throws Error from within another input, such as an authentication decision.
   */
  administer(act: (now: Now) => void): void {
    if (this.#busy) throw new Error("Cannot administer the engine while it is at work: do it later");
    this.#input(act);
  }

  /** Ends every allocation, then takes no further input. Sockets are closing when it returns. */
  stop(): void {
    this.#input((now) => this.#engine.shutdown(now));
    this.#stopped = true;
    this.#cancelWake?.();
    this.#relaySockets.closeAll();
  }

  #input(handle: (now: Now) => void): void {
    if (this.#stopped) {
      return;
    }
    this.#busy = true;
    try {
      handle(this.#clock.now());
    } catch (error) {
      this.#reportInternalError(error);
    }
    this.#settle();
  }

  /**
   * Brings the engine to rest after an input: drains it, answers it, drains it again. A packet that was relayed moves
   * no timer, so that asking for it is spared: the answer would be one boxed number a packet.
   */
  #settle(relayed = false): void {
    if (this.#stopped) {
      return;
    }
    this.#busy = true;
    this.#drain();
    for (let answer = this.#answers.shift(); answer !== undefined; answer = this.#answers.shift()) {
      try {
        this.#engine.handleAnswer(answer, this.#clock.now());
      } catch (error) {
        this.#reportInternalError(error);
      }
      this.#drain();
    }
    if (!relayed) {
      this.#setTimer();
    }
    this.#busy = false;
    if (this.#events.length > 0) {
      this.#deliverEvents();
    }
  }

  #drain(): void {
    for (let output = this.#engine.pollOutput(); output !== undefined; output = this.#engine.pollOutput()) {
      try {
        this.#carryOut(output);
      } catch (error) {
        this.#reportInternalError(error);
      }
    }
  }

  /** Whether there was something to relay. */
  #forward(verdict: Verdict, buffer: Uint8Array): boolean {
    if (verdict === Verdict.consumed) {
      return false;
    }
    const { forward } = this.#engine;
    if (verdict === Verdict.toPeer) {
      this.#plane.sendToPeer(
        forward.socket,
        forward.destination,
        buffer,
        forward.offset,
        forward.length,
        forward.dontFragment,
      );
    } else {
      this.#plane.sendToClient(
        forward.listener,
        forward.connection,
        forward.destination,
        buffer,
        forward.offset,
        forward.length,
      );
    }
    return true;
  }

  #carryOut(output: Output): void {
    switch (output.kind) {
      case "sendToClient": {
        const { listener, connection, destination, bytes } = output;
        this.#plane.sendToClient(listener, connection, destination, bytes, 0, bytes.length);
        return;
      }
      case "openRelaySocket":
        this.#relaySockets.open(output, (answer) => this.handleAnswer(answer));
        return;
      case "closeRelaySocket":
        this.#relaySockets.close(output.socket);
        return;
      case "releaseReservation":
        this.#relaySockets.releaseReservation(output.reservation);
        return;
      case "admit":
        this.handleAnswer({ kind: "admission", questionId: output.questionId, ...this.#options.admit(output) });
        return;
      case "releaseAdmission":
        this.#options.release(output.questionId);
        return;
      case "channelBound":
      case "channelUnbound":
        this.#plane.handleChannel?.(output);
        return;
      case "connectPeer":
      case "bindDataConnection":
      case "closePeerConnection":
      case "handOver":
      case "adoptClient":
      case "releaseClient":
        // Only an engine with TCP relay sockets, or one of several, asks for these.
        throw new Error(`The engine asked for ${output.kind}, which it was not told to be available`);
      case "closeClient":
        this.#plane.closeClient?.(output.listener, output.connection);
        return;
      case "event":
        this.#events.push(output.event);
        return;
    }
  }

  /** One timer. A later time doesn't move it: it wakes early, finds nothing due, and is set anew. */
  #setTimer(): void {
    const wantedMs = this.#engine.pollTimeout();
    if (wantedMs === undefined || wantedMs >= this.#wakeAtMs || this.#stopped) {
      return;
    }
    this.#cancelWake?.();
    this.#wakeAtMs = wantedMs;
    this.#cancelWake = this.#clock.schedule(wantedMs - this.#clock.now().monotonicMs, () => {
      this.#wakeAtMs = Infinity;
      this.#cancelWake = undefined;
      this.#input((now) => {
        const dueMs = this.#engine.pollTimeout();
        if (dueMs !== undefined && dueMs <= now.monotonicMs) {
          this.#engine.handleTimeout(now);
        }
      });
    });
  }

  #deliverEvents(): void {
    while (this.#events.length > 0) {
      const events = this.#events;
      this.#events = [];
      for (const event of events) {
        try {
          this.#options.onEvent?.(event);
        } catch (error) {
          this.#sampledLog.error({ err: error, event: event.type }, "An event handler threw");
        }
      }
    }
  }

  #reportInternalError(error: unknown): void {
    this.#internalErrors++;
    this.#sampledLog.error({ err: error }, "An input failed: this is an error of the program");
  }
}
