export * from "./core/index.ts";
export * from "./cache/index.ts";
export * from "./verifiers/index.ts";
