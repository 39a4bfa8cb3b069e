import { randomBytes, randomInt } from "node:crypto";
import { receiveMessageOnPort, workerData } from "node:worker_threads";
import { nodeCrypto } from "@turnpike/stun/node";
import { TurnServer } from "@turnpike/turn";
import { type Authenticate, createThreadAuthenticator } from "../authenticate-module.ts";
import { GuessDefence } from "../defence/guess-defence.ts";
import { EventInterest } from "../events/relay-event.ts";
import { ActorRates } from "../limits/actor-rates.ts";
import { commonClockOffsetMs } from "../limits/common-clock.ts";
import { createMeters } from "../limits/meters.ts";
import { SourceRates } from "../limits/source-rates.ts";
import { OpenAdmission } from "../admission/open-admission.ts";
import { HairpinMap } from "../addresses/hairpin-map.ts";
import { loadLibc } from "../libc/libc.ts";
import { createTimeSource } from "../libc/time-source.ts";
import { BatchedPlane } from "../planes/batched/batched-plane.ts";
import { PlaneCounters } from "../planes/counters.ts";
import { onOwnLines } from "../planes/own-lines.ts";
import { PortLeases } from "../ports/port-leases.ts";
import { PortTable } from "../ports/port-table.ts";
import { Reactor } from "../reactor/reactor.ts";
import { RelaySockets } from "../reactor/relay-sockets.ts";
import { ReservationClaims } from "../reactor/reservation-claims.ts";
import { AdoptedClients } from "./adopted-clients.ts";
import { Coalescing } from "./coalescing.ts";
import { DescriptorRegistry } from "./descriptor-registry.ts";
import { MainThread } from "./main-thread.ts";
import { ReplaceablePeerPolicy } from "../replaceable-peer-policy.ts";
import { Orders } from "./orders.ts";
import { type FromWorker, Gauge, type ToWorker, type WorkerStart } from "./protocol.ts";
import { ThreadAdmission } from "./thread-admission.ts";
import { wantedEvents } from "./thread-events.ts";
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
const gauges = onOwnLines(start.memory.gauges);

const found = loadLibc();
if ("unavailable" in found) throw new Error(found.unavailable);
const libc = new DescriptorRegistry(start.memory.descriptors).watch(found);

const mainThread = new MainThread(port);
const { logger } = mainThread;
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
  claim: (owner, reservation, done) =>
    post({ kind: "claim", owner, claim: { id: claims.add(done), reservation, claimant: start.reactor } }),
});
const claims = new ReservationClaims({ clock });
/** Questions of authentications that wait for `settle`. */
const pending = new Set<number>();

const authenticator = await createThreadAuthenticator({
  ...start.authenticate,
  logger,
  ask: (question) => mainThread.ask(question),
});

const peerPolicy = new ReplaceablePeerPolicy(start.peers);
const interest = new EventInterest(start.memory.interest);
// Read anew: what was read before the modules were loaded would put this thread's buckets ahead of all others'.
clock.tick();
const clockOffsetMs = commonClockOffsetMs(clock.now().monotonicMs);
const sourceRates = new SourceRates({ clockOffsetMs, memory: start.memory.sourceRates });
const admission = new ThreadAdmission({
  open: new OpenAdmission(start.memory.openAdmission),
  sourceRates,
  clock,
  post,
});
const actorRates = new ActorRates({ clockOffsetMs, memory: start.memory.actorRates });
const { maxPendingAuthentications: maxPending } = start.engine;
// A ban by what this reactor sees is in force at once; the main thread, which sees the failures of all, tells of it.
const defence = new GuessDefence({
  clock,
  random: () => randomInt(2 ** 32) / 2 ** 32,
  settings: start.penalties,
  ...(maxPending !== undefined && { maxPending }),
  onBan: () => {},
  onFailure: (source) => post({ kind: "failedAttempt", source }),
});
/** Notes who waits for promises of this thread; what waits for a penalty's end needs the clock alone. */
const tracked: Authenticate = (request, settle) => {
  const { questionId } = request;
  const decided = authenticator.authenticate(request, (decision) => {
    pending.delete(questionId);
    settle(decision);
  });
  if (decided.kind === "pending") pending.add(questionId);
  return decided;
};
const authenticate = defence.guard(tracked);

const engine = new TurnServer({
  mobility: true,
  ...start.engine,
  crypto: nodeCrypto,
  random: (length) => randomBytes(length),
  engine: start.reactor,
  engines: start.engines,
  realm: start.realm,
  listeners: start.listeners,
  authenticate: (request) =>
    authenticate(request, (decision) =>
      reactor.handleAnswer({ kind: "authentication", questionId: request.questionId, decision }),
    ),
  peerPolicy,
  hairpin,
  families: ([4, 6] as const).filter((family) => relayAddresses.some(({ local }) => local.family === family)),
  dontFragment: true,
  ...(start.natDiscovery && { natDiscovery: start.natDiscovery }),
  nonceKey: start.nonceKey,
  admission: true,
  events: wantedEvents(interest, start),
  gate: defence.gate(sourceRates),
  metersFor: createMeters(actorRates),
  ...(start.trafficReportSeconds !== undefined && { trafficReportSeconds: start.trafficReportSeconds }),
});
const isForeign = new Set(start.listeners.filter(({ transport }) => transport !== "udp").map(({ id }) => id));
const adoptedClients = new AdoptedClients({
  libc,
  plane,
  listeners: start.listeners,
  bufferBytes: start.bufferBytes,
  logger,
});
const reactor: Reactor = new Reactor({
  engine,
  plane,
  relaySockets,
  clock,
  logger,
  admit: (question) => admission.admit(question),
  commit: (questionId) => admission.commit(questionId),
  release: (questionId) => admission.release(questionId),
  others: {
    isForeign: (listener) => isForeign.has(listener),
    sendToClient: (listener, connection, bytes) => post({ kind: "sendToClient", listener, connection, bytes }),
    closeClient: (listener, connection) => post({ kind: "closeClient", listener, connection }),
    carryOut: (output) => {
      if (output.kind === "handOver") {
        const { engine: owner, listener, connection, client, bytes } = output;
        post({ kind: "handOver", engine: owner, packet: { listener, connection, client, bytes } });
      } else if (output.kind === "adoptClient") {
        adoptedClients.adopt(output.listener, output.client);
      } else {
        adoptedClients.release(output.listener, output.client);
      }
    },
  },
  onEvent: (event) => mainThread.tell(event),
});
const orders = new Orders({
  mainThread,
  reactor,
  engine,
  plane,
  relaySockets,
  claims,
  admission,
  peerPolicy,
  defence,
  authenticator,
  clock,
  show,
});
const coalescing = new Coalescing({ coalesceUs: start.coalesceUs, monotonicMs: clock.now().monotonicMs });
let seen = 0;
let sampledMs = 0;
/** Whether the main thread is told what lives. */
let isFollowed = false;

if (start.coalesceUs > 0) libc.setTimerSlack(TIMER_SLACK_NS);
plane.start(reactor);
for (const { id, transport } of start.listeners) {
  if (transport === "udp") plane.adoptListener(id, start.descriptors[id] ?? -1);
}
post({ kind: "ready" });
setImmediate(takeTurns);

/** Takes turns for a stretch, then lets the event loop run what promises and timers there are. */
function takeTurns(): void {
  const startedMs = clock.now().monotonicMs;
  for (;;) {
    readMessages();
    if (orders.isStopped) return;
    // What promises and messages have changed is seen before the thread waits.
    show();
    const packets = plane.turn(clock.waitMs(pending.size > 0 ? LONGEST_WAIT_PENDING_MS : LONGEST_WAIT_MS));
    clock.fire();
    show();
    const { monotonicMs } = clock.now();
    if (monotonicMs - sampledMs > SAMPLE_DROPS_MS) {
      sampledMs = monotonicMs;
      plane.sampleDrops();
    }
    // Woken by a message alone, it is not idle.
    const isIdle = packets === 0 && Atomics.load(control, 0) === seen;
    const hasResolved = orders.takeResolved();
    if (isIdle || hasResolved || pending.size > 0 || monotonicMs - startedMs > LONGEST_STRETCH_MS) break;
    const napUs = coalescing.napUs(packets, monotonicMs);
    if (napUs > 0) libc.usleep(napUs);
  }
  setImmediate(takeTurns);
}

function readMessages(): void {
  const sent = Atomics.load(control, 0);
  if (sent === seen) return;
  seen = sent;
  clock.tick();
  // Hundreds may have been admitted: their answers leave in few system calls.
  plane.together(handleAll);
  // What it made happen must not wait for the next packet.
  if (!orders.isStopped) show();
}

function handleAll(): void {
  for (let received = receiveMessageOnPort(port); received !== undefined; received = receiveMessageOnPort(port)) {
    // Only the main thread has the other end of the port.
    const { message }: { readonly message: readonly ToWorker[] } = received;
    for (const each of message) {
      orders.carryOut(each);
      if (orders.isStopped) return;
    }
  }
}

/** Shows the main thread what this reactor holds, and gives it the messages and events of the turn. */
function show(): void {
  gauges[Gauge.allocations] = engine.allocationCount;
  gauges[Gauge.relaySockets] = relaySockets.liveCount;
  gauges[Gauge.reservedPorts] = relaySockets.heldCount;
  gauges[Gauge.portsInUse] = leases.inUse;
  gauges[Gauge.portsSetAside] = leases.setAsideCount;
  gauges[Gauge.suppressedReplies] = engine.suppressedReplies;
  gauges[Gauge.internalErrors] = reactor.internalErrors;
  gauges[Gauge.penaltyDiscarded] = defence.discarded;
  gauges[Gauge.penaltyWaiting] = defence.waiting;
  gauges[Gauge.penaltySources] = defence.sources;
  mainThread.send();
  if (interest.followsAllocations !== isFollowed) tellWhatLives();
}

/** Somebody begins to listen to what allocations do, or nobody does any more. */
function tellWhatLives(): void {
  isFollowed = !isFollowed;
  const allocations = isFollowed ? [...engine.describeAllocations(clock.now())] : [];
  post({ kind: "living", allocations });
  mainThread.send();
}

function post(message: FromWorker): void {
  mainThread.post(message);
}
