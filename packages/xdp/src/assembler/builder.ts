import type { Arithmetic, Condition, Instruction, Line, Operand, Register, Size } from "./instruction.ts";
import type { Field } from "./struct.ts";

/** Writes a program line by line. Each call appends one instruction. */
export class ProgramBuilder {
  readonly lines: Line[] = [];
  #labels = 0;

  /** A place to jump to. */
  label(name: string): void {
    this.lines.push({ kind: "label", name });
  }

  /** A label of its own for a place inside a step. */
  fresh(name: string): string {
    return `${name}.${++this.#labels}`;
  }

  /** Whether something jumps to a label. */
  isTarget(name: string): boolean {
    return this.lines.some((line) => (line.kind === "jump" || line.kind === "goto") && line.target === name);
  }

  /** 64 bits wide. */
  move(to: Register, by: Operand): void {
    this.#arithmetic("move", to, by);
  }

  add(to: Register, by: Operand): void {
    this.#arithmetic("add", to, by);
  }

  subtract(to: Register, by: Operand): void {
    this.#arithmetic("subtract", to, by);
  }

  and(to: Register, by: Operand): void {
    this.#arithmetic("and", to, by);
  }

  or(to: Register, by: Operand): void {
    this.#arithmetic("or", to, by);
  }

  xor(to: Register, by: Operand): void {
    this.#arithmetic("xor", to, by);
  }

  shiftLeft(to: Register, by: Operand): void {
    this.#arithmetic("shiftLeft", to, by);
  }

  shiftRight(to: Register, by: Operand): void {
    this.#arithmetic("shiftRight", to, by);
  }

  /** Between host and network order; wider bits become zero. */
  toBigEndian(bits: 16 | 32 | 64, to: Register): void {
    this.#push({ kind: "toBigEndian", bits, to });
  }

  /** Reads a field of the structure that `base` points to; wider bits become zero. */
  load(to: Register, base: Register, field: Field): void {
    this.#push({ kind: "load", size: sizeOf(field), to, base, offset: field.offset });
  }

  store(base: Register, field: Field, value: Operand): void {
    this.#push({ kind: "store", size: sizeOf(field), base, offset: field.offset, value });
  }

  atomicAdd(base: Register, field: Field, value: Register): void {
    this.#push({ kind: "atomicAdd", size: 8, base, offset: field.offset, value });
  }

  loadMap(to: Register, descriptor: number): void {
    this.#push({ kind: "loadMap", to, descriptor });
  }

  /** Jumps to `target` if `left` compares so with `right`, unsigned; `bits` 32 compares the lower halves. */
  jumpIf(left: Register, condition: Condition, right: Operand, target: string, bits: 32 | 64 = 64): void {
    this.#push({ kind: "jump", condition, bits, left, right, target });
  }

  goto(target: string): void {
    this.#push({ kind: "goto", target });
  }

  /** Calls a helper of the kernel. r1–r5 are its arguments and gone after it; r0 is its result. */
  call(helper: number): void {
    this.#push({ kind: "call", helper });
  }

  exit(): void {
    this.#push({ kind: "exit" });
  }

  #arithmetic(operation: Arithmetic, to: Register, by: Operand): void {
    this.#push({ kind: "arithmetic", operation, bits: 64, to, by });
  }

  #push(instruction: Instruction): void {
    this.lines.push(instruction);
  }
}

function sizeOf({ size }: Field): Size {
  if (size === 1 || size === 2 || size === 4 || size === 8) return size;
  throw new RangeError(`No instruction moves ${size} bytes at once`);
}
