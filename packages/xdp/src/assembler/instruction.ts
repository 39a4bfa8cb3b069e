/**
 * eBPF instructions as values, and the tables of their encodings (RFC 9669). One table each for arithmetic, jumps and
 * sizes; assembler and disassembler read the same ones.
 */

/** r1–r5 carry arguments and do not outlive a call, r6–r9 do, r0 is the result, r10 the end of the stack frame. */
export type Register = "r0" | "r1" | "r2" | "r3" | "r4" | "r5" | "r6" | "r7" | "r8" | "r9" | "r10";

/** A register, or a signed 32-bit constant. */
export type Operand = Register | number;

/** Width of a memory access in bytes. */
export type Size = 1 | 2 | 4 | 8;

/** RFC 9669 §4.1, signed division and sign-extending moves left out. */
export const ARITHMETIC = {
  add: 0x00,
  subtract: 0x10,
  multiply: 0x20,
  or: 0x40,
  and: 0x50,
  shiftLeft: 0x60,
  shiftRight: 0x70,
  xor: 0xa0,
  move: 0xb0,
} as const;
export type Arithmetic = keyof typeof ARITHMETIC;

/** RFC 9669 §4.3: unsigned comparisons. */
export const CONDITION = {
  equal: 0x10,
  above: 0x20,
  aboveOrEqual: 0x30,
  anyBit: 0x40,
  notEqual: 0x50,
  below: 0xa0,
  belowOrEqual: 0xb0,
} as const;
export type Condition = keyof typeof CONDITION;

/** RFC 9669 §5. */
export const SIZE: Readonly<Record<Size, number>> = { 4: 0x00, 2: 0x08, 1: 0x10, 8: 0x18 };

export const CLASS = {
  load: 1,
  storeConstant: 2,
  store: 3,
  arithmetic32: 4,
  jump: 5,
  jump32: 6,
  arithmetic64: 7,
} as const;

/** RFC 9669 §4.2: to big-endian, in a register. */
export const TO_BIG_ENDIAN = 0xdc;
/** RFC 9669 §5.4: the two-slot load; with source 1 its constant is a map's descriptor. */
export const LOAD_WIDE = 0x18;
export const MAP_DESCRIPTOR = 1;
export const MEMORY = 0x60;
export const ATOMIC = 0xc0;
export const GOTO = 0x05;
export const CALL = 0x85;
export const EXIT = 0x95;
/** Source of an operation is a register (RFC 9669 §4). */
export const FROM_REGISTER = 0x08;

/** One instruction. `target` names a label. */
export type Instruction =
  | {
      readonly kind: "arithmetic";
      readonly operation: Arithmetic;
      readonly bits: 32 | 64;
      readonly to: Register;
      readonly by: Operand;
    }
  | { readonly kind: "toBigEndian"; readonly bits: 16 | 32 | 64; readonly to: Register }
  | {
      readonly kind: "load";
      readonly size: Size;
      readonly to: Register;
      readonly base: Register;
      readonly offset: number;
    }
  | {
      readonly kind: "store";
      readonly size: Size;
      readonly base: Register;
      readonly offset: number;
      readonly value: Operand;
    }
  | {
      readonly kind: "atomicAdd";
      readonly size: 4 | 8;
      readonly base: Register;
      readonly offset: number;
      readonly value: Register;
    }
  | { readonly kind: "loadMap"; readonly to: Register; readonly descriptor: number }
  | {
      readonly kind: "jump";
      readonly condition: Condition;
      readonly bits: 32 | 64;
      readonly left: Register;
      readonly right: Operand;
      readonly target: string;
    }
  | { readonly kind: "goto"; readonly target: string }
  | { readonly kind: "call"; readonly helper: number }
  | { readonly kind: "exit" };

/** A place to jump to, or an instruction. */
export type Line = { readonly kind: "label"; readonly name: string } | Instruction;

/** The number of a register. */
export function registerNumber(register: Register): number {
  return Number(register.slice(1));
}

/** Slots of eight bytes that an instruction takes. */
export function slotsOf(line: Line): 0 | 1 | 2 {
  if (line.kind === "label") return 0;
  return line.kind === "loadMap" ? 2 : 1;
}
