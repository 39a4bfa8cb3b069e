import { randomBytes, randomInt } from "node:crypto";
import { receiveMessageOnPort, workerData } from "node:worker_threads";
import { nodeCrypto } from "@turnpike/stun/node";
import { createPeerPolicy, type LifecycleEvent, TurnServer } from "@turnpike/turn";
import { selects } from "../allocation-selector.ts";
import { HairpinMap } from "../addresses/hairpin-map.ts";
import { PenalizedAuthenticator } from "../defence/turn-penalties.ts";
import { loadLibc } from "../libc/libc.ts";
import { createTimeSource } from "../libc/time-source.ts";
import type { Logger } from "../logger.ts";
import { BatchedPlane } from "../planes/batched/batched-plane.ts";
import { PlaneCounters } from "../planes/counters.ts";
import { PortLeases } from "../ports/port-leases.ts";
import { PortTable } from "../ports/port-table.ts";
import { Admissions } from "../reactor/admissions.ts";
import { Reactor } from "../reactor/reactor.ts";
import { RelaySockets } from "../reactor/relay-sockets.ts";
import type { Authenticate } from "../relay-options.ts";
import { Coalescing } from "./coalescing.ts";
import { DescriptorRegistry } from "./descriptor-registry.ts";
import { type CreateAuthenticate, type FromWorker, Gauge, type ToWorker, type WorkerStart } from "./protocol.ts";
import { TurnClock } from "./turn-clock.ts";

/** The longest wait for packets, in milliseconds; the second while an authentication runs on this thread's own promises. */
const LONGEST_WAIT_MS = 1000;
const LONGEST_WAIT_PENDING_MS = 5;
/** The longest time that promises and timers of this thread wait for the event loop while packets come. */
const LONGEST_STRETCH_MS = 10;
const SAMPLE_DROPS_MS = 100;
/** Beyond this, an unprivileged sleep is rounded up by the kernel's default slack of 50 µs. */
const TIMER_SLACK_NS = 1000;

// Given by `ReactorThread` alone, in the same version of this package.
const start: WorkerStart = workerData;
const { port } = start;
const control = new Int32Array(start.memory.control);
const gauges = new Float64Array(start.memory.gauges);

const found = loadLibc();
if ("unavailable" in found) throw new Error(found.unavailable);
const libc = new DescriptorRegistry(start.memory.descriptors).watch(found);

const logger: Logger = {
  debug: (fields, message) => post({ kind: "log", level: "debug", fields: cloneable(fields), message }),
  info: (fields, message) => post({ kind: "log", level: "info", fields: cloneable(fields), message }),
  warn: (fields, message) => post({ kind: "log", level: "warn", fields: cloneable(fields), message }),
  error: (fields, message) => post({ kind: "log", level: "error", fields: cloneable(fields), message }),
};

const clock = new TurnClock(createTimeSource(libc));
const plane = new BatchedPlane({
  libc,
  counters: new PlaneCounters(start.memory.counters),
  receiveAggregates: start.aggregate,
  sendAggregates: start.aggregate,
  bufferBytes: start.bufferBytes,
  wakeDescriptor: start.wakeDescriptor,
  ...(start.memory.arena >= 0 && { arena: start.memory.arena }),
  onAwake: () => clock.tick(),
  onRelayed: show,
  ...(start.channels && { onChannel: (output) => post({ kind: "channel", output }) }),
});
const { relayAddresses } = start;
const hairpin = new HairpinMap({ relayAddresses, ownAddresses: start.ownAddresses, memory: start.memory.hairpin });
const leases = new PortLeases({
  table: new PortTable({ range: start.portRange, spaces: relayAddresses.length, memory: start.memory.ports }),
  reactor: start.reactor,
  randomInteger: (bound) => randomInt(bound),
});
const relaySockets = new RelaySockets({
  plane,
  leases,
  addresses: relayAddresses,
  hairpin,
  logger,
  randomInteger: (bound) => randomInt(bound),
  monotonicMs: () => clock.now().monotonicMs,
});
const admissions = new Admissions();
const questions = new Map<number, (answer: unknown) => void>();
let lastQuestion = 0;
let events: LifecycleEvent[] = [];
/** Questions of authentications that wait for `settle`. */
const pending = new Set<number>();
/** Something may have resolved a promise. */
let visitEventLoop = false;

// The main thread named the module; there is nothing to check its type by.
const module: { readonly createAuthenticate: CreateAuthenticate } = await import(start.authenticate.module);
const authenticate = await module.createAuthenticate(start.authenticate.data, (question, answer) => {
  const id = ++lastQuestion;
  questions.set(id, answer);
  post({ kind: "ask", id, question });
});

/** Notes who waits for promises of this thread; what waits for a penalty's end needs the clock alone. */
const tracked: Authenticate = (request, settle) => {
  const { questionId } = request;
  const decided = authenticate(request, (decision) => {
    pending.delete(questionId);
    settle(decision);
  });
  if (decided.kind === "pending") pending.add(questionId);
  return decided;
};
const { maxPendingAuthentications: maxPending } = start.engine;
const penalized =
  start.penalties === false
    ? undefined
    : new PenalizedAuthenticator({
        authenticate: tracked,
        settings: start.penalties,
        clock,
        logger,
        ...(maxPending === undefined ? {} : { maxPending }),
      });
const answering = penalized?.authenticate ?? tracked;

const engine = new TurnServer({
  ...start.engine,
  crypto: nodeCrypto,
  random: (length) => randomBytes(length),
  engine: start.reactor,
  realm: start.realm,
  listeners: start.listeners,
  authenticate: (request) =>
    answering(request, (decision) =>
      reactor.handleAnswer({ kind: "authentication", questionId: request.questionId, decision }),
    ),
  peerPolicy: createPeerPolicy(start.peers),
  hairpin,
  families: ([4, 6] as const).filter((family) => relayAddresses.some(({ local }) => local.family === family)),
  dontFragment: true,
  nonceKey: start.nonceKey,
  admission: true,
  events: start.events,
});
const reactor: Reactor = new Reactor({
  engine,
  plane,
  relaySockets,
  clock,
  logger,
  admit: (question) => admissions.admit(question),
  release: (questionId) => {
    admissions.release(questionId);
    visitEventLoop = true;
  },
  ...(start.events && { onEvent: (event: LifecycleEvent) => events.push(event) }),
});
const coalescing = new Coalescing({ coalesceUs: start.coalesceUs, monotonicMs: clock.now().monotonicMs });
let seen = 0;
let sampledMs = 0;
let stopped = false;

if (start.coalesceUs > 0) libc.setTimerSlack(TIMER_SLACK_NS);
plane.start(reactor);
for (const [index, listener] of start.listeners.entries()) {
  plane.adoptListener(listener.id, start.descriptors[index] ?? -1);
}
post({ kind: "ready" });
setImmediate(takeTurns);

/** Takes turns for a stretch, then lets the event loop run what promises and timers there are. */
function takeTurns(): void {
  const startedMs = clock.now().monotonicMs;
  for (;;) {
    readMessages();
    if (stopped) return;
    const packets = plane.turn(clock.waitMs(pending.size > 0 ? LONGEST_WAIT_PENDING_MS : LONGEST_WAIT_MS));
    clock.fire();
    show();
    const { monotonicMs } = clock.now();
    if (monotonicMs - sampledMs > SAMPLE_DROPS_MS) {
      sampledMs = monotonicMs;
      plane.sampleDrops();
    }
    if (packets === 0 || visitEventLoop || pending.size > 0 || monotonicMs - startedMs > LONGEST_STRETCH_MS) break;
    const napUs = coalescing.napUs(packets, monotonicMs);
    if (napUs > 0) libc.usleep(napUs);
  }
  visitEventLoop = false;
  setImmediate(takeTurns);
}

function readMessages(): void {
  const sent = Atomics.load(control, 0);
  if (sent === seen) return;
  seen = sent;
  clock.tick();
  for (let received = receiveMessageOnPort(port); received !== undefined; received = receiveMessageOnPort(port)) {
    // Only the main thread has the other end of the port.
    const { message }: { readonly message: ToWorker } = received;
    handle(message);
  }
}

function handle(message: ToWorker): void {
  switch (message.kind) {
    case "drain":
      void admissions.drain().then(() => post({ kind: "drained" }));
      return;
    case "answer": {
      const answer = questions.get(message.id);
      questions.delete(message.id);
      answer?.(message.answer);
      return;
    }
    case "endAllocations": {
      let count = 0;
      reactor.administer((now) => {
        count = engine.endAllocations(selects(message.selector), message.reason, now);
      });
      post({ kind: "endedAllocations", id: message.id, count });
      return;
    }
    case "stop":
      penalized?.close();
      reactor.stop();
      admissions.end();
      void plane.stop();
      show();
      stopped = true;
      port.close();
      return;
  }
}

/** Shows the main thread what this reactor holds, and gives it the events of the turn. */
function show(): void {
  gauges[Gauge.allocations] = engine.allocationCount;
  gauges[Gauge.relaySockets] = relaySockets.liveCount;
  gauges[Gauge.reservedPorts] = relaySockets.heldCount;
  gauges[Gauge.portsInUse] = leases.inUse;
  gauges[Gauge.portsSetAside] = leases.setAsideCount;
  gauges[Gauge.suppressedReplies] = engine.suppressedReplies;
  gauges[Gauge.internalErrors] = reactor.internalErrors;
  if (penalized !== undefined) showPenalties(penalized);
  if (events.length > 0) {
    post({ kind: "events", events });
    events = [];
  }
}

function showPenalties({ counters }: PenalizedAuthenticator): void {
  gauges[Gauge.penaltyFailures] = counters.failures;
  gauges[Gauge.penaltyDiscarded] = counters.discarded;
  gauges[Gauge.penaltyBans] = counters.automaticBans;
  gauges[Gauge.penaltyWaiting] = counters.waiting;
  gauges[Gauge.penaltySources] = counters.sources;
}

function post(message: FromWorker): void {
  port.postMessage(message);
}

/** Errors cross threads as their text: what they carry beside may not be cloneable. */
function cloneable(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [
      name,
      value instanceof Error ? (value.stack ?? value.message) : value,
    ]),
  );
}
