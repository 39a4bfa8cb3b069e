/** What people write of hints and how it is judged, for who reads a configuration: nothing here opens a connection. */
export * from "./address-policy.ts";
export * from "./hint-error.ts";
export * from "./hint.ts";
export * from "./host-port.ts";
export { isOnion } from "./gate.ts";
export * from "./reference.ts";
export * from "./reveal.ts";
export * from "./target.ts";
