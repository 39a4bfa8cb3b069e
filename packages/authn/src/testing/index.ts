export { ManualClock } from "./manual-clock.ts";
export { type LogLine, RecordingLogger } from "./recording-logger.ts";
