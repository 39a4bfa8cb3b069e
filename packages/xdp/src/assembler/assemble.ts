import * as I from "./instruction.ts";

/** Machine code, and where its labels are. */
export interface Assembled {
  /** Eight bytes a slot, little-endian. */
  readonly code: Uint8Array;
  /** Slot of each label, in the order of the text. */
  readonly labels: ReadonlyMap<string, number>;
}

/** The text can't be made into code: an error of the program that wrote it. */
export class AssemblyError extends Error {
  override readonly name = "AssemblyError";
}

/**
 * Makes machine code of instructions and labels.
 *
 * @throws {AssemblyError} for a label that is missing or there twice, or a number that its field can't hold.
 */
export function assemble(lines: readonly I.Line[]): Assembled {
  const labels = new Map<string, number>();
  let slots = 0;
  for (const line of lines) {
    if (line.kind === "label") {
      if (labels.has(line.name)) throw new AssemblyError(`Label ${line.name} is there twice`);
      labels.set(line.name, slots);
    }
    slots += I.slotsOf(line);
  }
  const code = new Uint8Array(slots * 8);
  const writer = new SlotWriter(code, labels);
  for (const line of lines) writer.write(line);
  return { code, labels };
}

/** Writes instruction after instruction. */
class SlotWriter {
  readonly #view: DataView;
  readonly #labels: ReadonlyMap<string, number>;
  #slot = 0;

  constructor(code: Uint8Array, labels: ReadonlyMap<string, number>) {
    this.#view = new DataView(code.buffer, code.byteOffset, code.length);
    this.#labels = labels;
  }

  write(line: I.Line): void {
    switch (line.kind) {
      case "label":
        return;
      case "arithmetic": {
        const group = line.bits === 64 ? I.CLASS.arithmetic64 : I.CLASS.arithmetic32;
        this.#withOperand(group | I.ARITHMETIC[line.operation], line.to, line.by, 0);
        return;
      }
      case "toBigEndian":
        this.#put(I.TO_BIG_ENDIAN, I.registerNumber(line.to), 0, 0, line.bits);
        return;
      case "load":
        this.#put(
          I.CLASS.load | I.MEMORY | I.SIZE[line.size],
          I.registerNumber(line.to),
          I.registerNumber(line.base),
          line.offset,
          0,
        );
        return;
      case "store": {
        const size = I.MEMORY | I.SIZE[line.size];
        const base = I.registerNumber(line.base);
        if (typeof line.value === "number") {
          this.#put(I.CLASS.storeConstant | size, base, 0, line.offset, line.value);
        } else {
          this.#put(I.CLASS.store | size, base, I.registerNumber(line.value), line.offset, 0);
        }
        return;
      }
      case "atomicAdd":
        this.#put(
          I.CLASS.store | I.ATOMIC | I.SIZE[line.size],
          I.registerNumber(line.base),
          I.registerNumber(line.value),
          line.offset,
          0,
        );
        return;
      case "loadMap":
        this.#put(I.LOAD_WIDE, I.registerNumber(line.to), I.MAP_DESCRIPTOR, 0, line.descriptor);
        this.#put(0, 0, 0, 0, 0);
        return;
      case "jump": {
        const group = line.bits === 64 ? I.CLASS.jump : I.CLASS.jump32;
        this.#withOperand(group | I.CONDITION[line.condition], line.left, line.right, this.#distance(line.target));
        return;
      }
      case "goto":
        this.#put(I.GOTO, 0, 0, this.#distance(line.target), 0);
        return;
      case "call":
        this.#put(I.CALL, 0, 0, 0, line.helper);
        return;
      case "exit":
        this.#put(I.EXIT, 0, 0, 0, 0);
        return;
    }
  }

  #withOperand(opcode: number, to: I.Register, operand: I.Operand, offset: number): void {
    if (typeof operand === "number") this.#put(opcode, I.registerNumber(to), 0, offset, operand);
    else this.#put(opcode | I.FROM_REGISTER, I.registerNumber(to), I.registerNumber(operand), offset, 0);
  }

  #distance(target: string): number {
    const slot = this.#labels.get(target);
    if (slot === undefined) throw new AssemblyError(`Label ${target} is jumped to, but is nowhere`);
    return slot - this.#slot - 1;
  }

  #put(opcode: number, to: number, from: number, offset: number, constant: number): void {
    if (!Number.isInteger(offset) || offset < -0x8000 || offset > 0x7fff) {
      throw new AssemblyError(`Offset ${offset} in slot ${this.#slot} does not fit 16 bits`);
    }
    if (!Number.isInteger(constant) || constant < -(2 ** 31) || constant >= 2 ** 31) {
      throw new AssemblyError(`Constant ${constant} in slot ${this.#slot} does not fit 32 bits`);
    }
    const at = this.#slot * 8;
    this.#view.setUint8(at, opcode);
    this.#view.setUint8(at + 1, to | (from << 4));
    this.#view.setInt16(at + 2, offset, true);
    this.#view.setInt32(at + 4, constant, true);
    this.#slot++;
  }
}
