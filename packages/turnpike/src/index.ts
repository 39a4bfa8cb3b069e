export { createProgram, run } from "./cli.ts";
export { loadConfiguration, type ConfigurationInput, type LoadedConfiguration, type Source } from "./config/load.ts";
export { configurationReference } from "./config/reference.ts";
export type { Configuration } from "./config/schema.ts";
export { CommandError, ConfigurationError, type Problem } from "./errors.ts";
export type { World } from "./world.ts";
