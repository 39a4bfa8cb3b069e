import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { assemble, AssemblyError } from "./assemble.ts";
import { disassemble, DisassemblyError, formatLine } from "./disassemble.ts";
import { ARITHMETIC, CONDITION, type Instruction, type Line, type Register, slotsOf } from "./instruction.ts";
import { part, struct } from "./struct.ts";
import { explainVerifierLog } from "./verifier-log.ts";

const register = fc.integer({ min: 0, max: 10 }).map((n): Register => `r${n}` as Register);
const constant = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const operand = fc.oneof(register, constant);
const offset = fc.integer({ min: -0x8000, max: 0x7fff });
const bits = fc.constantFrom(32 as const, 64 as const);
const size = fc.constantFrom(1 as const, 2 as const, 4 as const, 8 as const);
const keys = <Key extends string>(table: Record<Key, number>) => fc.constantFrom(...(Object.keys(table) as Key[]));

const plain: fc.Arbitrary<Instruction> = fc.oneof(
  fc.record({ kind: fc.constant("arithmetic" as const), operation: keys(ARITHMETIC), bits, to: register, by: operand }),
  fc.record({ kind: fc.constant("toBigEndian" as const), bits: fc.constantFrom(16, 32, 64), to: register }),
  fc.record({ kind: fc.constant("load" as const), size, to: register, base: register, offset }),
  fc.record({ kind: fc.constant("store" as const), size, base: register, offset, value: operand }),
  fc.record({
    kind: fc.constant("atomicAdd" as const),
    size: fc.constantFrom(4 as const, 8 as const),
    base: register,
    offset,
    value: register,
  }),
  fc.record({ kind: fc.constant("loadMap" as const), to: register, descriptor: fc.nat(1000) }),
  fc.record({ kind: fc.constant("call" as const), helper: fc.nat(300) }),
  fc.constant({ kind: "exit" as const }),
);
type Jump = Extract<Instruction, { kind: "jump" | "goto" }>;
const jump: fc.Arbitrary<{ readonly jump: Jump; readonly where: number }> = fc.record({
  jump: fc.oneof(
    fc.record({
      kind: fc.constant("jump" as const),
      condition: keys(CONDITION),
      bits,
      left: register,
      right: operand,
      target: fc.constant(""),
    }),
    fc.record({ kind: fc.constant("goto" as const), target: fc.constant("") }),
  ),
  where: fc.double({ min: 0, max: 1, noNaN: true }),
});

/** Programs whose labels are named as the disassembler would: by their slot. */
const program: fc.Arbitrary<readonly Line[]> = fc
  .array(fc.oneof(plain, jump), { minLength: 1, maxLength: 60 })
  .map((parts) => {
    const starts: number[] = [];
    let slot = 0;
    for (const each of parts) {
      starts.push(slot);
      slot += "jump" in each ? 1 : slotsOf(each);
    }
    const targets = new Set<number>();
    const instructions = parts.map((each): Instruction => {
      if (!("jump" in each)) return each;
      const target = starts[Math.floor(each.where * (starts.length - 1))] ?? 0;
      targets.add(target);
      return { ...each.jump, target: `L${target}` };
    });
    return instructions.flatMap((each, index): Line[] => {
      const start = starts[index] ?? 0;
      return targets.has(start) ? [{ kind: "label", name: `L${start}` }, each] : [each];
    });
  });

describe("assembler and disassembler", () => {
  test("what is assembled is read back the same", () => {
    fc.assert(
      fc.property(program, (lines) => {
        expect(disassemble(assemble(lines).code)).toEqual(lines);
      }),
      { numRuns: 500 },
    );
  });

  test("any bytes are read, or refused by a typed error", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        let lines: readonly Line[];
        try {
          lines = disassemble(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(DisassemblyError);
          return;
        }
        expect(lines.map(formatLine).join("\n")).not.toContain("undefined");
      }),
      { numRuns: 2000 },
    );
  });

  test("instructions are encoded as RFC 9669 says", () => {
    const { code } = assemble([
      { kind: "arithmetic", operation: "move", bits: 64, to: "r6", by: "r1" },
      { kind: "load", size: 2, to: "r1", base: "r2", offset: 12 },
      { kind: "jump", condition: "notEqual", bits: 64, left: "r1", right: 8, target: "end" },
      { kind: "loadMap", to: "r1", descriptor: 5 },
      { kind: "atomicAdd", size: 8, base: "r8", offset: 16, value: "r1" },
      { kind: "label", name: "end" },
      { kind: "exit" },
    ]);
    expect(Buffer.from(code).toString("hex").match(/.{16}/g)).toEqual([
      "bf16000000000000",
      "69210c0000000000",
      "5501030008000000",
      "1811000005000000",
      "0000000000000000",
      "db18100000000000",
      "9500000000000000",
    ]);
  });

  test.each<readonly [string, readonly Line[], RegExp]>([
    ["a label that is nowhere", [{ kind: "goto", target: "away" }], /away is jumped to/],
    [
      "a label that is there twice",
      [
        { kind: "label", name: "a" },
        { kind: "label", name: "a" },
      ],
      /a is there twice/,
    ],
    ["an offset too large", [{ kind: "load", size: 8, to: "r1", base: "r2", offset: 0x8000 }], /does not fit 16 bits/],
    [
      "a constant too large",
      [{ kind: "arithmetic", operation: "move", bits: 64, to: "r1", by: 2 ** 31 }],
      /does not fit 32 bits/,
    ],
  ])("refuses %s", (_what, lines, message) => {
    expect(() => assemble(lines)).toThrow(AssemblyError);
    expect(() => assemble(lines)).toThrow(message);
  });

  test("the verifier's words are told with our labels", () => {
    const assembled = assemble([
      { kind: "label", name: "parse" },
      { kind: "load", size: 4, to: "r2", base: "r1", offset: 0 },
      { kind: "load", size: 1, to: "r0", base: "r2", offset: 3 },
      { kind: "exit" },
    ]);
    const log =
      "0: (61) r2 = *(u32 *)(r1 +0)\n1: (71) r0 = *(u8 *)(r2 +3)\ninvalid access to packet\nprocessed 2 insns\n";
    expect(explainVerifierLog(log, assembled)).toBe(
      "0: (61) r2 = *(u32 *)(r1 +0)\t<- parse+0: load4 r2, [r1+0]\n" +
        "1: (71) r0 = *(u8 *)(r2 +3)\t<- parse+1: load1 r0, [r2+3]\n" +
        "invalid access to packet",
    );
  });
});

describe("structures", () => {
  test("lay members out in order", () => {
    const pair = struct({ address: 16, port: 2, flags: 2, length: 4 });
    expect(pair).toEqual({
      size: 24,
      field: {
        address: { offset: 0, size: 16 },
        port: { offset: 16, size: 2 },
        flags: { offset: 18, size: 2 },
        length: { offset: 20, size: 4 },
      },
    });
    expect(part(pair.field.address, 8, 8)).toEqual({ offset: 8, size: 8 });
    expect(() => part(pair.field.address, 12, 8)).toThrow(RangeError);
  });

  test("refuse what the kernel would read across", () => {
    expect(() => struct({ flag: 1, length: 4, rest: 3 })).toThrow(/length is not aligned/);
    expect(() => struct({ flag: 1 })).toThrow(/multiple of 8/);
  });
});
