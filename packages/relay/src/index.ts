export { PortLeases, type PortLeasesOptions, type PortWish } from "./ports/port-leases.ts";
export { createPortRange, DEFAULT_PORT_RANGE, type PortRange } from "./ports/port-range.ts";
export { BLOCK_PORTS, PortTable, type PortTableOptions } from "./ports/port-table.ts";
