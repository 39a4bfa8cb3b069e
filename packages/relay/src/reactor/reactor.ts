import type { TransportAddress } from "@turnpike/stun";
import {
  type Answer,
  type ClientSource,
  type Forward,
  type IcmpReport,
  type LifecycleEvent,
  type Now,
  type Output,
  type ServerEngine,
  Verdict,
} from "@turnpike/turn";
import type { Logger } from "../logger.ts";
import type { ForwardingPlane, PacketReceiver, TcpRelayPlane } from "../planes/plane.ts";
import { SampledLog } from "../sampled-log.ts";
import type { Clock } from "./clock.ts";
import type { OtherReactors } from "./other-reactors.ts";
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
  /** Decides on new allocations. `later`: {@link Reactor.handleAnswer} is called with the decision. */
  readonly admit: (question: AdmissionQuestion) => AdmissionDecision | Promise<AdmissionDecision> | "later";
  /** Called when an allocation that was admitted lives. */
  readonly commit?: (questionId: number) => void;
  /** Called when an admitted allocation ended. */
  readonly release: (questionId: number) => void;
  /** Where the relay has several reactors. Default: it has one. */
  readonly others?: OtherReactors;
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
  readonly #others: OtherReactors | undefined;
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
    this.#others = options.others;
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

  /** A request that another reactor's engine handed over to this one's. */
  handleHandedOver(source: ClientSource, bytes: Uint8Array): void {
    this.#input((now) => this.#engine.handleHandedOver(source, bytes, now));
  }

  handleClientClosed(source: ClientSource): void {
    this.#input((now) => this.#engine.handleClientClosed(source, now));
  }

  /** Whether a silent client must be kept. */
  isClientNeeded(source: ClientSource): boolean {
    return this.#engine.hasAllocation(source);
  }

  handlePeerConnection(socket: number, peer: TransportAddress, peerConnection: number): void {
    if (this.#relaySockets.isLive(socket)) {
      this.#input((now) => this.#engine.handlePeerConnection(socket, peer, peerConnection, now));
    } else {
      this.#plane.tcpRelay?.closePeerConnection(peerConnection);
    }
  }

  handlePeerConnectionClosed(peerConnection: number): void {
    this.#input((now) => this.#engine.handlePeerConnectionClosed(peerConnection, now));
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
    if (this.#answers.length > 0) this.#answerAll();
    if (!relayed) this.#setTimer();
    this.#busy = false;
    if (this.#events.length > 0) this.#deliverEvents();
  }

  #answerAll(): void {
    for (let answer = this.#answers.shift(); answer !== undefined; answer = this.#answers.shift()) {
      try {
        this.#engine.handleAnswer(answer, this.#clock.now());
      } catch (error) {
        this.#reportInternalError(error);
      }
      this.#drain();
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
      this.#sendToClient(forward, buffer, forward.offset, forward.length);
    }
    return true;
  }

  #sendToClient(
    client: Pick<Forward, "listener" | "connection" | "destination">,
    buffer: Uint8Array,
    offset: number,
    length: number,
  ): void {
    const { listener, connection, destination } = client;
    if (this.#others?.isForeign(listener) === true) {
      this.#others.sendToClient(listener, connection, buffer.slice(offset, offset + length));
    } else {
      this.#plane.sendToClient(listener, connection, destination, buffer, offset, length);
    }
  }

  #carryOut(output: Output): void {
    switch (output.kind) {
      case "sendToClient":
        this.#sendToClient(output, output.bytes, 0, output.bytes.length);
        return;
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
        this.#admit(output);
        return;
      case "commitAdmission":
        this.#options.commit?.(output.questionId);
        return;
      case "releaseAdmission":
        this.#options.release(output.questionId);
        return;
      case "channelBound":
      case "channelUnbound":
        this.#plane.handleChannel?.(output);
        return;
      case "connectPeer": {
        const { questionId, socket, peer } = output;
        this.#tcpRelay().connectPeer(socket, peer, (peerConnection) => this.#answerConnect(questionId, peerConnection));
        return;
      }
      case "bindDataConnection":
        this.#tcpRelay().bindDataConnection(output.listener, output.connection, output.peerConnection);
        return;
      case "closePeerConnection":
        this.#tcpRelay().closePeerConnection(output.peerConnection, { finish: output.finish ?? false });
        return;
      case "handOver":
      case "adoptClient":
      case "releaseClient":
        if (this.#others === undefined) {
          throw new Error(`The engine asked for ${output.kind}, although it was told to be the only one`);
        }
        this.#others.carryOut(output);
        return;
      case "closeClient":
        if (this.#others?.isForeign(output.listener) === true) {
          this.#others.closeClient(output.listener, output.connection);
        } else {
          this.#plane.closeClient?.(output.listener, output.connection);
        }
        return;
      case "event":
        this.#events.push(output.event);
        return;
    }
  }

  #admit(question: AdmissionQuestion): void {
    const { questionId } = question;
    const answer = (decision: AdmissionDecision): void =>
      this.handleAnswer({ kind: "admission", questionId, ...decision });
    const decision = this.#options.admit(question);
    if (decision === "later") return;
    if (!(decision instanceof Promise)) {
      answer(decision);
      return;
    }
    void decision.then(answer, (error: unknown) => {
      this.#reportInternalError(error);
      answer({ admitted: false, code: 508, reason: "Insufficient Capacity" });
    });
  }

  #tcpRelay(): TcpRelayPlane {
    const { tcpRelay } = this.#plane;
    if (tcpRelay === undefined) throw new Error("The engine was not told that TCP relay sockets can be had");
    return tcpRelay;
  }

  #answerConnect(questionId: number, peerConnection: number | undefined): void {
    if (peerConnection === undefined) {
      this.handleAnswer({ kind: "peerConnectFailed", questionId });
    } else if (this.#stopped) {
      this.#tcpRelay().closePeerConnection(peerConnection);
    } else {
      this.handleAnswer({ kind: "peerConnected", questionId, peerConnection });
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
