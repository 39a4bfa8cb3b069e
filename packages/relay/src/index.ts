export { AdmissionControl, type AdmissionSettings } from "./admission/admission-control.ts";
export type { AdmissionContext, LimitsFor, UserLimits } from "./admission/user-limits.ts";
export type { AdmissionStore, Quota, Reservation, Reserved } from "./admission/admission-store.ts";
export { MemoryAdmissionStore } from "./admission/memory-store.ts";
export type { QuotaSettings } from "./admission/quotas.ts";
export {
  type FleetRelay,
  redirectByFirst,
  redirectByPrefix,
  redirectByRules,
  type RedirectPolicy,
  type RedirectQuestion,
  type RedirectRule,
  type RedirectTarget,
  redirectToLeastLoaded,
} from "./admission/redirect.ts";
export type { AdministrationStats, BanRequest, RelayLimits } from "./control/administration.ts";
export { type GuessCounters, prefixSubject, type StandingBan } from "./defence/guess-defence.ts";
export type { EventCounters, EventHandlers } from "./events/event-hub.ts";
export type { EventLogSettings } from "./events/event-log.ts";
export type { EventStream, EventStreamOptions } from "./events/event-stream.ts";
export { type PlainEvent, plainEvent } from "./events/plain-event.ts";
export {
  type BanEvent,
  isRelayEventType,
  RELAY_EVENT_TYPES,
  type RelayEvent,
  type RelayEventType,
} from "./events/relay-event.ts";
export type { SourceRateSettings } from "./limits/source-rates.ts";
export { type ExternalAddress, parseExternalAddress, type RelayAddress } from "./addresses/relay-address.ts";
export { type ListenSpec, parseListenSpec } from "./addresses/listen.ts";
export type { AllocationSelector } from "./allocation-selector.ts";
export { HairpinMap, type HairpinMapOptions } from "./addresses/hairpin-map.ts";
export { type Logger, silentLogger } from "./logger.ts";
export { PlaneCounter, type PlaneCounterName, PlaneCounters } from "./planes/counters.ts";
export {
  type ForwardingPlane,
  MAX_PAYLOAD_IPV4,
  MAX_PAYLOAD_IPV6,
  type Opened,
  type OpenFailure,
  type PacketReceiver,
} from "./planes/plane.ts";
export type { BatchedPlaneOptions } from "./planes/batched/batched-plane-options.ts";
export { BatchedPlane } from "./planes/batched/batched-plane.ts";
export type { BatchedRelayOptions } from "./batched-relay-options.ts";
export type { KernelPlaneOptions } from "./kernel/open-offload.ts";
export { BatchedRelay, startBatchedRelay } from "./batched-relay.ts";
export { Arena } from "./libc/arena.ts";
export { SocketFactory, type UdpSocket, type UdpSocketOptions } from "./libc/sockets.ts";
export { createTimeSource } from "./libc/time-source.ts";
export { type MutableNow, type TimeSource, TurnClock } from "./reactor-worker/turn-clock.ts";
export type {
  Ask,
  Authenticate,
  AuthenticateModule,
  CreateAuthenticate,
  ThreadAuthenticator,
} from "./authenticate-module.ts";
export { type Libc, type LibcUnavailable, loadLibc, type LoadLibcOptions } from "./libc/libc.ts";
export { type NotifySocket, openNotifySocket } from "./libc/notify-socket.ts";
export { type SelfTestResult, testLibc } from "./libc/self-test.ts";
export {
  choosePlane,
  type PlaneChoice,
  type PlaneChoiceOptions,
  PlaneUnavailableError,
} from "./planes/choose-plane.ts";
export { PortablePlane, type PortablePlaneOptions } from "./planes/portable/portable-plane.ts";
export { PortLeases, type PortLeasesOptions, type PortWish } from "./ports/port-leases.ts";
export { createPortRange, DEFAULT_PORT_RANGE, type PortRange } from "./ports/port-range.ts";
export { BLOCK_PORTS, PortTable, type PortTableOptions } from "./ports/port-table.ts";
export type { TlsIdentity } from "./streams/certificate-files.ts";
export type { EngineSettings, ForwardingOptions, PeerRules, RelayOptions } from "./relay-options.ts";
export { type Relay, type RelayStats, startRelay } from "./relay.ts";
export { RelayStartError } from "./listeners.ts";
export { type Clock, createSystemClock } from "./reactor/clock.ts";
export { type AdmissionDecision, type AdmissionQuestion, Reactor, type ReactorOptions } from "./reactor/reactor.ts";
export { RelaySockets, type RelaySocketsOptions } from "./reactor/relay-sockets.ts";
