export * from "./core/index.ts";
export * from "./cache/index.ts";
export * from "./verifiers/index.ts";
export * from "./http/index.ts";
export * from "./penalties/index.ts";
