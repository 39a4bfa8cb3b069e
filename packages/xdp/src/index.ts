export { assemble, type Assembled, AssemblyError } from "./assembler/assemble.ts";
export { ProgramBuilder } from "./assembler/builder.ts";
export { disassemble, DisassemblyError, formatLine } from "./assembler/disassemble.ts";
export type { Instruction, Line, Operand, Register, Size } from "./assembler/instruction.ts";
export { type Field, type Struct, struct } from "./assembler/struct.ts";
export {
  BpfMap,
  type HookName,
  type MapOptions,
  Program,
  TCX,
  type TestRun,
  VerifierError,
  XDP,
  XdpLink,
  type XdpMode,
} from "./kernel/bpf.ts";
export { type Link, Netlink, type NetworkRoute } from "./kernel/netlink.ts";
export {
  loadSystem,
  type Machine,
  missingCapabilities,
  type System,
  XdpError,
  XdpUnavailableError,
} from "./kernel/system.ts";
export {
  ChannelOffload,
  type ChannelOffloadOptions,
  type InterfaceStatus,
  type MapStatus,
  type OffloadStatus,
} from "./offload/channel-offload.ts";
export type { ChannelCounts } from "./offload/channel-table.ts";
export type { Endpoint, Ip } from "./offload/endpoint.ts";
export { type ChannelRoute, routeEntries, type RouteEntry, type RoutePlaces } from "./offload/routes.ts";
export { hop, OUTCOME, type Outcome, OUTCOMES, route, routeKey, scratch, state } from "./program/layout.ts";
export { relayProgram, type RelayProgramOptions } from "./program/relay-program.ts";
