export type { BackOffSettings } from "./back-off.ts";
export type { LinkConnection, LinkConnectionEvents, LinkConnector } from "./connector.ts";
export {
  type FatalReason,
  LinkMachine,
  type LinkMachineOptions,
  type LinkOutput,
  type LinkTimes,
} from "./link-machine.ts";
export {
  type LinkParameters,
  type LinkRequest,
  parsePortalUrl,
  type PortalAddress,
  type TokenPlacement,
} from "./login-url.ts";
export { createStampSecret, PortalLink, PortalLinkError, type PortalLinkOptions } from "./portal-link.ts";
export { readToken, type TokenSources } from "./token.ts";
export { type StreamTarget, webSocketConnector, type WebSocketConnectorOptions } from "./web-socket-connector.ts";
export { RelayReporter, type RelayReporterOptions, toRelayEvent } from "./relay-reporter.ts";
export { PortalOrders, type PortalOrdersOptions } from "./portal-orders.ts";
