export { referencedServer, type ReferencedServer } from "./reference.ts";
export { allocate } from "./allocate.ts";
export type { AllocateOptions, CredentialOptions } from "./allocate.ts";
export type { Abortable, Allocation, AllocationHandlers, AllocationStats } from "./allocation.ts";
export { binding } from "./binding.ts";
export type { BindingOptions } from "./binding.ts";
export type { Datagram } from "./datagram-queue.ts";
export { TurnClientError } from "./errors.ts";
export type { TurnClientErrorCode } from "./errors.ts";
export { readPeer as parsePeer } from "./peer-address.ts";
export type { PeerAddress, PeerHost } from "./peer-address.ts";
export { MAXIMUM_CANDIDATES, resolveUri, transportOf } from "./resolve.ts";
export type { ResolveOptions, ServerCandidate } from "./resolve.ts";
export { systemResolver } from "./resolver.ts";
export type { NaptrRecord, Resolver, SrvRecord } from "./resolver.ts";
export type { OpenTransportOptions, TlsClientOptions, TransportSecurity } from "./transports/transport.ts";
export { createTurnHintHandler } from "./turn-hint.ts";
export type { TurnHintOptions } from "./turn-hint.ts";
export { defaultPort, formatUri, isSecure, parseUri, turnHintServer, UriError } from "./uri.ts";
export type { TurnUri, UriErrorCode, UriScheme, UriTransport } from "./uri.ts";
export { bench } from "./bench/bench.ts";
export type { BenchOptions } from "./bench/bench.ts";
export { benchReportJson, formatBenchProgress, formatBenchReport } from "./bench/report.ts";
export type {
  AllocationReport,
  BenchProgress,
  BenchReport,
  HistogramBucket,
  Percentiles,
  TrafficReport,
} from "./bench/report.ts";
export { checkServers } from "./check/check.ts";
export type { CheckOptions } from "./check/check.ts";
export { CHECK_STEPS, checkReportsJson, formatCheckReports } from "./check/report.ts";
export type { CheckReport, CheckStep, CheckStepResult, CheckTraffic } from "./check/report.ts";
