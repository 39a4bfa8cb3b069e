import * as I from "./instruction.ts";

/** The code is none that {@link disassemble} knows. */
export class DisassemblyError extends Error {
  override readonly name = "DisassemblyError";
}

/**
 * Reads machine code back into instructions and labels. Jumps without a label in `labels` get one named by its slot,
 * `L12`.
 *
 * @throws {DisassemblyError} for an instruction that the assembler does not make, or a jump out of the code.
 */
export function disassemble(code: Uint8Array, labels: ReadonlyMap<string, number> = new Map()): readonly I.Line[] {
  if (code.length % 8 !== 0) throw new DisassemblyError(`${code.length} bytes are no whole number of instructions`);
  const view = new DataView(code.buffer, code.byteOffset, code.length);
  const slots = code.length / 8;
  const names = new Map<number, string[]>();
  for (const [name, slot] of labels) names.set(slot, [...(names.get(slot) ?? []), name]);
  const nameOf = (slot: number): string => {
    if (slot < 0 || slot > slots) throw new DisassemblyError(`A jump to slot ${slot} leaves the code`);
    const known = names.get(slot);
    if (known?.[0] !== undefined) return known[0];
    names.set(slot, [`L${slot}`]);
    return `L${slot}`;
  };
  const found: { readonly slot: number; readonly instruction: I.Instruction }[] = [];
  for (let slot = 0; slot < slots;) {
    const instruction = readInstruction(view, slot, nameOf);
    found.push({ slot, instruction });
    slot += I.slotsOf(instruction);
  }
  const lines: I.Line[] = [];
  const labelsAt = (slot: number): void => {
    for (const name of names.get(slot) ?? []) lines.push({ kind: "label", name });
  };
  for (const { slot, instruction } of found) {
    labelsAt(slot);
    lines.push(instruction);
  }
  labelsAt(slots);
  return lines;
}

/** One line of text for a person. */
export function formatLine(line: I.Line): string {
  switch (line.kind) {
    case "label":
      return `${line.name}:`;
    case "arithmetic":
      return `${line.operation}${line.bits === 32 ? "32" : ""} ${line.to}, ${line.by}`;
    case "toBigEndian":
      return `toBigEndian${line.bits} ${line.to}`;
    case "load":
      return `load${line.size} ${line.to}, [${line.base}${signed(line.offset)}]`;
    case "store":
      return `store${line.size} [${line.base}${signed(line.offset)}], ${line.value}`;
    case "atomicAdd":
      return `atomicAdd${line.size} [${line.base}${signed(line.offset)}], ${line.value}`;
    case "loadMap":
      return `loadMap ${line.to}, ${line.descriptor}`;
    case "jump":
      return `if ${line.left} ${line.condition}${line.bits === 32 ? "32" : ""} ${line.right} goto ${line.target}`;
    case "goto":
      return `goto ${line.target}`;
    case "call":
      return `call ${line.helper}`;
    case "exit":
      return "exit";
  }
}

function signed(offset: number): string {
  return offset < 0 ? String(offset) : `+${offset}`;
}

function readInstruction(view: DataView, slot: number, nameOf: (slot: number) => string): I.Instruction {
  const at = slot * 8;
  const opcode = view.getUint8(at);
  const registers = view.getUint8(at + 1);
  const offset = view.getInt16(at + 2, true);
  const constant = view.getInt32(at + 4, true);
  const to = registerOf(registers & 0x0f, slot);
  const from = registerOf(registers >>> 4, slot);
  const operand = (opcode & I.FROM_REGISTER) === 0 ? constant : from;
  const target = (): string => nameOf(slot + 1 + offset);
  if (opcode === I.EXIT) return { kind: "exit" };
  if (opcode === I.CALL && from === "r0") return { kind: "call", helper: constant };
  if (opcode === I.GOTO) return { kind: "goto", target: target() };
  if (opcode === I.TO_BIG_ENDIAN && (constant === 16 || constant === 32 || constant === 64)) {
    return { kind: "toBigEndian", bits: constant, to };
  }
  if (opcode === I.LOAD_WIDE && from === "r1" && at + 16 <= view.byteLength) {
    return { kind: "loadMap", to, descriptor: constant };
  }
  const group = opcode & 0x07;
  switch (group) {
    case I.CLASS.arithmetic32:
    case I.CLASS.arithmetic64: {
      const operation = keyOf(I.ARITHMETIC, opcode & 0xf0);
      if (operation === undefined) break;
      return { kind: "arithmetic", operation, bits: group === I.CLASS.arithmetic64 ? 64 : 32, to, by: operand };
    }
    case I.CLASS.jump:
    case I.CLASS.jump32: {
      const condition = keyOf(I.CONDITION, opcode & 0xf0);
      if (condition === undefined) break;
      const bits = group === I.CLASS.jump ? 64 : 32;
      return { kind: "jump", condition, bits, left: to, right: operand, target: target() };
    }
    default: {
      const memory = readMemory(opcode, { to, from, offset, constant });
      if (memory !== undefined) return memory;
    }
  }
  throw new DisassemblyError(`Slot ${slot} holds an unknown instruction, opcode 0x${opcode.toString(16)}`);
}

function readMemory(
  opcode: number,
  parts: { readonly to: I.Register; readonly from: I.Register; readonly offset: number; readonly constant: number },
): I.Instruction | undefined {
  const { to, from, offset, constant } = parts;
  const size = sizeOf(opcode & 0x18);
  const mode = opcode & 0xe0;
  switch (opcode & 0x07) {
    case I.CLASS.load:
      return mode === I.MEMORY ? { kind: "load", size, to, base: from, offset } : undefined;
    case I.CLASS.storeConstant:
      return mode === I.MEMORY ? { kind: "store", size, base: to, offset, value: constant } : undefined;
    case I.CLASS.store:
      if (mode === I.MEMORY) return { kind: "store", size, base: to, offset, value: from };
      if (mode === I.ATOMIC && constant === 0 && (size === 4 || size === 8)) {
        return { kind: "atomicAdd", size, base: to, offset, value: from };
      }
      return undefined;
    default:
      return undefined;
  }
}

const REGISTERS: readonly I.Register[] = ["r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10"];

function registerOf(number: number, slot: number): I.Register {
  const register = REGISTERS[number];
  if (register === undefined) throw new DisassemblyError(`Slot ${slot} names register ${number}, which is none`);
  return register;
}

function sizeOf(bits: number): I.Size {
  return ([1, 2, 4, 8] as const).find((size) => I.SIZE[size] === bits) ?? 8;
}

function keyOf<Key extends string>(table: Readonly<Record<Key, number>>, value: number): Key | undefined {
  for (const key in table) if (table[key] === value) return key;
  return undefined;
}
