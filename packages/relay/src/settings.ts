/** How settings of a relay are written, for who reads a configuration: nothing here relays or opens anything. */
export { type ListenSpec, parseListenSpec } from "./addresses/listen.ts";
export { type ExternalAddress, parseExternalAddress } from "./addresses/relay-address.ts";
export { parseRedirectServer } from "./admission/redirect-server.ts";
export { isRelayEventType, RELAY_EVENT_TYPES } from "./events/relay-event.ts";
export { readToken } from "./link/token.ts";
