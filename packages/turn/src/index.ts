export type * from "./server/authentication.ts";
export { ClientSource, PACKET_HEADROOM, PACKET_TAILROOM, Verdict } from "./server/contract.ts";
export type {
  Answer,
  ClientTransport,
  Forward,
  Listener,
  Now,
  OpenRelaySocket,
  Output,
  RelaySocket,
  ServerEngine,
  ServerOptions,
} from "./server/contract.ts";
export type * from "./server/events.ts";
export type { PeerPolicy } from "./server/peer-policy.ts";
