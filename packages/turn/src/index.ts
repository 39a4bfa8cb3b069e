export { type AddressRange, addressRange, rangeContains } from "./server/address-range.ts";
export type * from "./server/authentication.ts";
export { ClientSource, PACKET_HEADROOM, PACKET_TAILROOM, Verdict } from "./server/contract.ts";
export type {
  Answer,
  ClientTransport,
  Forward,
  Hairpin,
  IcmpReport,
  Listener,
  NatDiscovery,
  Now,
  OpenRelaySocket,
  Output,
  RelaySocket,
  ServerEngine,
  ServerOptions,
} from "./server/contract.ts";
export type * from "./server/events.ts";
export type { AllocationLimits, EngineLimits, LimitChange, SourceGate } from "./server/limits.ts";
export { TO_CLIENT, TO_PEERS, TokenBucketMeter } from "./server/meter.ts";
export type { Direction, Meter, Rate } from "./server/meter.ts";
export { checkEngineLimits } from "./server/core.ts";
export { createPeerPolicy } from "./server/peer-policy.ts";
export type { PeerDecision, PeerPolicy, PeerPolicyOptions } from "./server/peer-policy.ts";
export type { AllocationDescription, EndableAllocation } from "./server/administration.ts";
export { TurnServer } from "./server/server.ts";
export { prefixHash } from "./server/reply-limiter.ts";
export { TurnClient } from "./client/client.ts";
export { ConnectionBinding } from "./client/connection-binding.ts";
export type { BindingState, ConnectionBindingOptions } from "./client/connection-binding.ts";
export { Received } from "./client/contract.ts";
export type {
  AllocateDemands,
  Allocated,
  ClientCredentials,
  ClientEngine,
  ClientOptions,
  ClientOutput,
  Completion,
  ReceivedData,
} from "./client/contract.ts";
export { describeFailure } from "./client/failure.ts";
export type { ClientFailure, ServerError } from "./client/failure.ts";
