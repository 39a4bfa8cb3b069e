import { expect, test } from "vitest";
import { type Libc, loadLibc } from "../libc/libc.ts";
import type { Logger } from "../logger.ts";
import { choosePlane } from "./choose-plane.ts";

const lines: string[] = [];
const add =
  (level: string) =>
  (fields: Readonly<Record<string, unknown>>): number =>
    lines.push(`${level} ${String(fields["reason"])}`);
const logger: Logger = { debug: add("debug"), info: add("info"), warn: add("warn"), error: add("error") };
const real = loadLibc();

test("portable asks nothing of the machine", () => {
  const load = (): never => expect.unreachable();
  expect(choosePlane({ wanted: "portable", logger, load })).toEqual({ plane: "portable" });
});

test("a machine that isn't known takes the portable plane with one line, or refuses", () => {
  const load = (): { unavailable: string } => ({ unavailable: "linux-riscv64" });
  lines.length = 0;
  expect(choosePlane({ wanted: "auto", logger, load })).toEqual({ plane: "portable" });
  expect(lines).toEqual(["info linux-riscv64"]);
  expect(() => choosePlane({ wanted: "batched", logger, load })).toThrow(
    'Cannot use the batched plane: linux-riscv64; use "auto" or "portable"',
  );
  expect(() => choosePlane({ wanted: "kernel", logger, load })).toThrow(
    'Cannot use the kernel plane: linux-riscv64; use "auto" or "portable"',
  );
});

if (!("unavailable" in real)) {
  test("a machine that passes the self-test takes the batched plane", () => {
    lines.length = 0;
    expect(choosePlane({ wanted: "auto", logger })).toMatchObject({ plane: "batched", aggregate: true });
    expect(choosePlane({ wanted: "kernel", logger })).toMatchObject({ plane: "kernel", aggregate: true });
    expect(lines).toEqual([]);
  });

  test("calls that surprise are a warning, or a refusal", () => {
    const load = (): Libc => ({ ...real, recvmmsg: () => 0 });
    lines.length = 0;
    expect(choosePlane({ wanted: "auto", logger, load })).toEqual({ plane: "portable" });
    expect(lines).toEqual(["warn over IPv4, of a batch of 4, 0 arrived"]);
    expect(() => choosePlane({ wanted: "batched", logger, load })).toThrow("the self-test failed");
  });

  test("aggregates that don't arrive whole are left alone", () => {
    const load = (): Libc => ({ ...real, sendmsg: (fd, message, flags) => real.sendmsg(fd, message, flags) - 1 });
    lines.length = 0;
    expect(choosePlane({ wanted: "batched", logger, load })).toMatchObject({ plane: "batched", aggregate: false });
    expect(lines).toEqual(["warn over IPv4, an aggregate of 5600 bytes was sent as 5599"]);
  });
}
