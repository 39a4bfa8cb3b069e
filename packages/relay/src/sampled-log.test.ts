import { expect, test } from "vitest";
import { SampledLog } from "./sampled-log.ts";
import { RecordingLogger } from "./testing/recording-logger.ts";

test("a message is logged at once, then once a minute with the number of those left out", () => {
  const logger = new RecordingLogger();
  let nowMs = 5;
  const log = new SampledLog({ logger, monotonicMs: () => nowMs });
  for (let index = 0; index < 1000; index++) {
    log.error({ index }, "first");
  }
  log.warn({}, "second");
  nowMs += 60_000;
  log.error({ index: 1000 }, "first");
  log.warn({}, "second");
  nowMs += 59_999;
  log.error({}, "first");
  expect(logger.lines.map(({ level, text }) => `${level} ${text}`)).toEqual([
    'error {"index":0,"message":"first"}',
    'warn {"message":"second"}',
    'error {"index":1000,"leftOut":999,"message":"first"}',
    'warn {"message":"second"}',
  ]);
});
