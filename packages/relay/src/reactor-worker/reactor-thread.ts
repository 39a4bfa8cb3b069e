import type { PenaltySettings } from "@turnpike/authn/penalties";
import type { AllocationDescription, DeletionReason, EngineLimits, LifecycleEvent, LimitChange } from "@turnpike/turn";
import { MessageChannel, type Worker } from "node:worker_threads";
import { type AuthenticateModule, refuseToAnswer } from "../authenticate-module.ts";
import type { HairpinMap } from "../addresses/hairpin-map.ts";
import type { Libc } from "../libc/libc.ts";
import type { Logger } from "../logger.ts";
import { BatchedPlane } from "../planes/batched/batched-plane.ts";
import { PlaneCounters } from "../planes/counters.ts";
import type { PortTable } from "../ports/port-table.ts";
import type { Administration } from "../control/administration.ts";
import type { KernelChannels } from "../kernel/kernel-channels.ts";
import type { AdmissionContext } from "../admission/user-limits.ts";
import type { AllocationSelector } from "../allocation-selector.ts";
import type { BanEvent } from "../events/relay-event.ts";
import type { AdmissionDecision, AdmissionQuestion } from "../reactor/reactor.ts";
import { DescriptorRegistry } from "./descriptor-registry.ts";
import { Lives } from "./lives.ts";
import { LivingThings } from "./living-things.ts";
import type { PeerRules } from "../relay-options.ts";
import { onOwnLines, ownLines } from "../planes/own-lines.ts";
import { GAUGES } from "./protocol.ts";
import type { ForeignInput, ForeignMessage, FromWorker, ToWorker, WorkerStart } from "./protocol.ts";
import { ReactorPort } from "./reactor-port.ts";
import { startWorker } from "./start-worker.ts";
import { type Reply, ThreadQuestions } from "./thread-questions.ts";

/** What all threads of a relay have in common, and the main thread's ends of it. */
export interface ReactorThreadOptions {
  readonly libc: Libc;
  readonly start: Omit<WorkerStart, "reactor" | "descriptors" | "wakeDescriptor" | "memory" | "port" | "authenticate">;
  readonly authenticate: AuthenticateModule;
  /** One bound socket for each listener, this thread's own share of the clients. */
  readonly descriptors: readonly number[];
  readonly portTable: PortTable;
  readonly hairpin: HairpinMap;
  readonly logger: Logger;
  /** Takes what the reactor wants of others. */
  readonly onForeign: (message: ForeignMessage) => void;
  /** A number that no living reactor has. */
  readonly nextReactor: () => number;
  readonly administration: Administration;
  /** Takes the channels of all reactors, if they are to be relayed in the kernel. */
  readonly kernelChannels?: KernelChannels;
}

/** A thread that has not stopped by then is ended from outside. */
const STOP_TIMEOUT_MS = 5000;

/**
 * The main thread's handle of one reactor on a thread of its own. If the thread dies, its allocations are gone: their
 * deletion is told, its descriptors and ports are freed, and another is started on the same listening sockets.
 */
export class ReactorThread {
  readonly counters: PlaneCounters = new PlaneCounters();
  readonly #options: ReactorThreadOptions;
  readonly #gaugeMemory = ownLines(GAUGES);
  readonly #gauges = onOwnLines(this.#gaugeMemory);
  readonly #registry = new DescriptorRegistry();
  readonly #port: ReactorPort;
  /** Of the plane: a thread that dies can't free it. */
  readonly #arena: number;
  readonly #living = new LivingThings();
  #limits: EngineLimits = {};
  #peers: PeerRules | undefined;
  #penalties: PenaltySettings | false;
  #worker: Worker | undefined;
  #reactor = -1;
  readonly #lives = new Lives();
  #restart: NodeJS.Timeout | undefined;
  readonly #questions = new ThreadQuestions();
  #isDraining = false;
  #drained: (() => void) | undefined;
  #stopping: Promise<void> | undefined;

  /** @throws {SystemCallError} if no eventfd can be had. */
  constructor(options: ReactorThreadOptions) {
    this.#options = options;
    this.#penalties = options.start.penalties;
    this.#port = new ReactorPort(options.libc);
    this.#arena = options.libc.mapLow(BatchedPlane.arenaBytes());
  }

  /** The number of the reactor that lives, for logs; another after each death. */
  get reactor(): number {
    return this.#reactor;
  }

  /** How often in a row the thread has died soon after its start. */
  get deaths(): number {
    return this.#lives.deaths;
  }

  /** One of its {@link Gauge}s. */
  gauge(place: number): number {
    return this.#gauges[place] ?? 0;
  }

  /** Gives the reactor what another received for it. */
  give(input: ForeignInput): void {
    this.#port.post(input);
  }

  /** What lives on the thread. */
  async allocations(): Promise<readonly AllocationDescription[]> {
    const answer = await this.#ask((id) => ({ kind: "describe", id }));
    const allocations = answer?.kind === "described" ? answer.allocations : [];
    const { kernelChannels } = this.#options;
    return kernelChannels === undefined ? allocations : allocations.map((each) => kernelChannels.describe(each));
  }

  /** Ends what is meant; the number of it. What dies with its thread meanwhile is not counted. */
  async end(selector: AllocationSelector, reason: DeletionReason): Promise<number> {
    const answer = await this.#ask((id) => ({ kind: "end", id, selector, reason }));
    return answer?.kind === "ended" ? answer.count : 0;
  }

  /** The rules hold for the threads that follow this one too. */
  setPeers(rules: PeerRules): void {
    this.#peers = rules;
    this.#port.post({ kind: "peers", rules });
  }

  setLimits(limits: EngineLimits): void {
    this.#limits = limits;
    this.#port.post({ kind: "limits", limits });
  }

  /** Has the thread name those whom it admitted by itself. */
  askWhoLives(): void {
    this.#port.post({ kind: "whoLives" });
  }

  changeAllocationLimits(changes: readonly LimitChange[]): void {
    this.#port.post({ kind: "allocationLimits", changes });
  }

  setPenalties(settings: PenaltySettings | false): void {
    this.#penalties = settings;
    this.#port.post({ kind: "penalties", settings });
  }

  /** Has the thread shut somebody out, or let in again. */
  tellBan(event: BanEvent): void {
    const { subject } = event;
    if (event.type === "banLifted") this.#port.post({ kind: "unban", subject });
    else {
      const seconds = (event.untilUnixMs - event.atUnixMs) / 1000;
      this.#port.post({ kind: "ban", subject, seconds, reason: event.reason });
    }
  }

  /** Starts the thread. Rejects if it dies before it serves. */
  start(): Promise<void> {
    return new Promise((resolve, reject) => this.#live(resolve, reject));
  }

  /** Admits no allocation from now on, nor do the threads that follow this one. Resolves when the last one has ended. */
  drain(): Promise<void> {
    this.#isDraining = true;
    if (this.#worker === undefined) return Promise.resolve();
    return new Promise((resolve) => {
      this.#drained = resolve;
      this.#port.post({ kind: "drain" });
    });
  }

  /** Ends every allocation and the thread. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  /** Ends the thread as an error would. For tests of what a death costs. */
  async kill(): Promise<void> {
    const ended = this.#worker?.terminate();
    // A thread that waits in a system call looks up only when it is woken.
    this.#port.wake();
    await ended;
  }

  #live(ready: () => void, failed: (error: Error) => void): void {
    const { start, portTable, hairpin, descriptors, authenticate, administration } = this.#options;
    const { port1, port2 } = new MessageChannel();
    this.#reactor = this.#options.nextReactor();
    this.#lives.begin(performance.now());
    this.#gauges.fill(0);
    const data: WorkerStart = {
      ...start,
      ...(this.#peers && { peers: this.#peers }),
      authenticate: { module: authenticate.module, data: authenticate.data() },
      reactor: this.#reactor,
      descriptors,
      wakeDescriptor: this.#port.wakeDescriptor,
      memory: {
        ports: portTable.memory,
        hairpin: hairpin.memory,
        counters: this.counters.memory,
        gauges: this.#gaugeMemory,
        descriptors: this.#registry.memory,
        interest: administration.hub.interest.memory,
        openAdmission: administration.openAdmission.memory,
        sourceRates: administration.sourceRates.memory,
        actorRates: administration.actorRates.memory,
        control: this.#port.control,
        arena: this.#arena,
      },
      port: port2,
    };
    const worker = startWorker(data);
    this.#worker = worker;
    let death = new Error("The thread ended");
    let served = false;
    const take = (message: FromWorker): void => {
      if (message.kind !== "ready") {
        this.#handle(message);
        return;
      }
      served = true;
      this.#brief();
      ready();
    };
    this.#port.open(port1, take);
    // It waits there, and is read before the first packet.
    if (this.#isDraining) this.#port.post({ kind: "drain" });
    worker.on("error", (error) => {
      death = error instanceof Error ? error : new Error(String(error));
    });
    worker.on("exit", () => {
      this.#port.close(port1, take);
      this.#bury();
      if (this.#stopping !== undefined) return;
      if (served) this.#revive(death);
      else failed(death);
    });
  }

  #handle(message: Exclude<FromWorker, { kind: "ready" }>): void {
    switch (message.kind) {
      case "channel":
        this.#options.kernelChannels?.handle(this.#reactor, message.output);
        return;
      case "living":
        this.#living.replace(message.allocations);
        return;
      case "events":
        for (const event of message.events) this.#deliver(event);
        return;
      case "log":
        this.#options.logger[message.level]({ ...message.fields, reactor: this.#reactor }, message.message);
        return;
      case "drained":
        this.#drained?.();
        return;
      case "handOver":
      case "sendToClient":
      case "closeClient":
      case "claim":
      case "surrendered":
        this.#options.onForeign(message);
        return;
      case "admit":
        this.#admit(message.question, message.draining);
        return;
      case "commit":
        this.#options.administration.admission.commit({ reactor: this.#reactor, questionId: message.questionId });
        return;
      case "release":
        this.#options.administration.admission.release({ reactor: this.#reactor, questionId: message.questionId });
        return;
      case "admitted":
        this.#options.administration.admission.learn(
          message.questions.map((question) => [
            { reactor: this.#reactor, questionId: question.questionId },
            this.#contextOf(question),
          ]),
        );
        return;
      case "failedAttempt":
        // Its failures count together with those of the others.
        this.#options.administration.defence.observe(message.source);
        return;
      case "described":
      case "ended":
        this.#questions.settle(message);
        return;
      case "ask":
        void this.#answer(message.id, message.question);
        return;
    }
  }

  async #answer(id: number, question: unknown): Promise<void> {
    const asked = this.#port.life;
    const { answer = refuseToAnswer } = this.#options.authenticate;
    const reply = await answer(question).then(
      (said): ToWorker => ({ kind: "answer", id, answer: said }),
      (error: unknown): ToWorker => ({ kind: "noAnswer", id, reason: String(error) }),
    );
    // Only the life that asked may be told.
    if (asked === this.#port.life) this.#port.post(reply);
  }

  /** Undefined if the thread ends, or has ended. */
  #ask(message: (id: number) => ToWorker): Promise<Reply | undefined> {
    if (this.#port.life === undefined) return Promise.resolve(undefined);
    return this.#questions.ask((id) => this.#port.post(message(id)));
  }

  /** Tells a thread that has begun to serve what holds for all. */
  #brief(): void {
    const { administration } = this.#options;
    administration.admission.reactorStarted(this.#reactor);
    this.#port.post({ kind: "limits", limits: this.#limits });
    this.#port.post({ kind: "penalties", settings: this.#penalties });
    for (const { subject, secondsLeft, reason } of administration.bans()) {
      this.#port.post({ kind: "ban", subject, seconds: secondsLeft, reason });
    }
  }

  #admit(question: AdmissionQuestion, draining: boolean): void {
    const { administration } = this.#options;
    const { questionId } = question;
    const asked = this.#port.life;
    const answer = (decision: AdmissionDecision): void => {
      // Only the life that asked may be told; what a dead one was granted is released with it.
      if (asked === this.#port.life) this.#port.post({ kind: "admission", questionId, decision });
    };
    const decision = administration.admission.admit({ reactor: this.#reactor, questionId }, this.#contextOf(question), {
      draining,
    });
    if (decision instanceof Promise) void decision.then(answer);
    else answer(decision);
  }

  #contextOf({ actor, username, scheme, client, listener }: AdmissionQuestion): AdmissionContext {
    const { listeners } = this.#options.start;
    const transport = listeners.find(({ id }) => id === listener)?.transport ?? "udp";
    return { actor, username, scheme, client, transport };
  }

  #deliver(event: LifecycleEvent): void {
    this.#living.take(event);
    this.#publish(event);
  }

  #publish(event: LifecycleEvent): void {
    this.#options.administration.hub.publish(this.#options.kernelChannels?.complete(event) ?? event);
  }

  /** Frees what a thread that has ended left behind, and tells of its allocations. */
  #bury(): void {
    this.#worker = undefined;
    this.#questions.abandon();
    this.#gauges.fill(0);
    this.#registry.closeAll(this.#options.libc);
    this.#options.kernelChannels?.forget(this.#reactor);
    const { portTable, hairpin } = this.#options;
    const { min, max } = portTable.range;
    for (let space = 0; space < portTable.spaces; space++) {
      for (let port = min; port <= max; port++) {
        if (portTable.isHeldBy(space, port, this.#reactor)) hairpin.setLive(space, port, false);
      }
    }
    portTable.clear(this.#reactor);
    this.#options.administration.admission.reactorEnded(this.#reactor);
    for (const event of this.#living.end(Date.now())) this.#publish(event);
    this.#drained?.();
  }

  #revive(death: Error): void {
    const delayMs = this.#lives.end(performance.now());
    const fields = { reactor: this.#reactor, err: death, delayMs };
    this.#options.logger.error(fields, "A reactor died: its allocations are gone, it is started again");
    const live = (): void =>
      this.#live(
        () => this.#options.logger.info({ reactor: this.#reactor }, "The reactor serves again"),
        (error) => this.#revive(error),
      );
    if (delayMs === 0) live();
    else this.#restart = setTimeout(live, delayMs);
  }

  async #stop(): Promise<void> {
    clearTimeout(this.#restart);
    const worker = this.#worker;
    if (worker !== undefined) {
      const ended = new Promise<void>((resolve) => worker.once("exit", () => resolve()));
      const late = setTimeout(() => void this.kill(), STOP_TIMEOUT_MS);
      this.#port.post({ kind: "stop" });
      await ended;
      clearTimeout(late);
    }
    const { libc } = this.#options;
    this.#port.free();
    if (this.#arena >= 0) libc.unmap(this.#arena, BatchedPlane.arenaBytes());
  }
}
