import type * as Http from "node:http";

/**
 * `node:http`, but not by an import: an ES module's import reads every export of it, `WebSocket` among them, and that
 * loads all of `fetch`, which a relay has no use for: a tenth of its start.
 */
export const http: typeof Http = process.getBuiltinModule("node:http");
