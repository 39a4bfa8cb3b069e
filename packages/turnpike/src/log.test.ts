import { Secret } from "@turnpike/authn";
import { describe, expect, it } from "vitest";
import { createLogger, type LogOptions } from "./log.ts";

function record(options: Partial<LogOptions> = {}) {
  let text = "";
  const logger = createLogger({
    level: "info",
    format: "json",
    colors: false,
    write: (line) => {
      text += line;
    },
    ...options,
  });
  return { logger, text: () => text };
}

describe("createLogger", () => {
  it("writes one JSON object a line, with the level's name and an ISO time", () => {
    const { logger, text } = record();
    logger.info({ port: 3478 }, "hello");
    logger.debug({}, "not this");
    const line = JSON.parse(text());
    expect(line).toEqual({
      level: "info",
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
      port: 3478,
      msg: "hello",
    });
    expect(text().endsWith("\n")).toBe(true);
  });

  it("writes a line for people", () => {
    const { logger, text } = record({ format: "pretty" });
    logger.warn({ realm: "x", list: [1, 2] }, "look");
    expect(text()).toMatch(/^\d\d:\d\d:\d\d\.\d{3} warn  look realm=x list=\[1,2\]\n$/);
  });

  it("writes the stack of an error below its line", () => {
    const { logger, text } = record({ format: "pretty" });
    logger.error({ err: new Error("broken") }, "failed");
    expect(text()).toMatch(/error failed\n {4}Error: broken\n {4} {4}at /);
  });

  it.each(["json", "pretty"] as const)("lets nothing from outside forge a line or move the cursor (%s)", (format) => {
    const { logger, text } = record({ format });
    logger.info({ username: "a\n{}\u001b[2J\u009b1m" }, "b\r\nc");
    expect(text().indexOf("\n")).toBe(text().length - 1);
    // oxlint-disable-next-line no-control-regex
    expect(text()).not.toMatch(/[\u0000-\u0009\u000b-\u001f]/);
  });

  it.each(["json", "pretty"] as const)("censors secrets wherever they stand (%s)", (format) => {
    const { logger, text } = record({ format, level: "trace" });
    const value = "hunter2";
    logger.info(
      { password: value, user: { credential: value, deeper: { token: value } }, wrapped: new Secret(value) },
      "x",
    );
    logger.child({ key: value }).trace({ sharedSecret: value }, "y");
    expect(text()).not.toContain(value);
    expect(text().split("\n")).toHaveLength(3);
  });

  it("colours only if it may", () => {
    const colored = record({ format: "pretty", colors: true });
    colored.logger.info({}, "x");
    expect(colored.text()).toContain("\u001b[32m");
  });

  it("is silent at `silent`", () => {
    const { logger, text } = record({ level: "silent" });
    logger.error({}, "x");
    expect(text()).toBe("");
  });
});
