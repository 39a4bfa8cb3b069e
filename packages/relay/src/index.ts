export { type ExternalAddress, parseExternalAddress, type RelayAddress } from "./addresses/relay-address.ts";
export { type ListenSpec, parseListenSpec } from "./addresses/listen.ts";
export type { AllocationSelector } from "./allocation-selector.ts";
export { HairpinMap, type HairpinMapOptions } from "./addresses/hairpin-map.ts";
export {
  PenalizedAuthenticator,
  type PenalizedAuthenticatorOptions,
  type TurnPenaltyCounters,
} from "./defence/turn-penalties.ts";
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
export { BatchedPlane, type BatchedPlaneOptions } from "./planes/batched/batched-plane.ts";
export { BatchedRelay, type BatchedRelayOptions, type KernelPlaneOptions, startBatchedRelay } from "./batched-relay.ts";
export { Arena } from "./libc/arena.ts";
export { SocketFactory, type UdpSocket, type UdpSocketOptions } from "./libc/sockets.ts";
export { createTimeSource } from "./libc/time-source.ts";
export { type MutableNow, type TimeSource, TurnClock } from "./reactor-worker/turn-clock.ts";
export type { Ask, AuthenticateModule, CreateAuthenticate } from "./reactor-worker/protocol.ts";
export { type Libc, type LibcUnavailable, loadLibc, type LoadLibcOptions } from "./libc/libc.ts";
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
export type { Authenticate, EngineSettings, PeerRules, RelayOptions } from "./relay-options.ts";
export { type Relay, type RelayStats, startRelay } from "./relay.ts";
export { RelayStartError } from "./listeners.ts";
export { type Clock, createSystemClock } from "./reactor/clock.ts";
export { type AdmissionDecision, type AdmissionQuestion, Reactor, type ReactorOptions } from "./reactor/reactor.ts";
export { RelaySockets, type RelaySocketsOptions } from "./reactor/relay-sockets.ts";
