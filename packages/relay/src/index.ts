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
export { PortablePlane, type PortablePlaneOptions } from "./planes/portable/portable-plane.ts";
export { PortLeases, type PortLeasesOptions, type PortWish } from "./ports/port-leases.ts";
export { createPortRange, DEFAULT_PORT_RANGE, type PortRange } from "./ports/port-range.ts";
export { BLOCK_PORTS, PortTable, type PortTableOptions } from "./ports/port-table.ts";
