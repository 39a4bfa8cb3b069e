import type { Size } from "./instruction.ts";

/** A member of a structure: where it is, and how wide. In bytes. */
export interface Field {
  readonly offset: number;
  readonly size: number;
}

/** A structure whose members have names. */
export interface Struct<Name extends string> {
  readonly size: number;
  readonly field: Readonly<Record<Name, Field>>;
}

/**
 * Lays members out one behind the other, as they are listed.
 *
 * @throws RangeError if a member of 2, 4 or 8 bytes is not at a multiple of its size, or the whole isn't one of 8.
 */
export function struct<Name extends string>(members: Readonly<Record<Name, number>>): Struct<Name> {
  let offset = 0;
  const field: Partial<Record<Name, Field>> = {};
  for (const name in members) {
    const size = members[name];
    if ([2, 4, 8].includes(size) && offset % size !== 0) throw new RangeError(`Member ${name} is not aligned`);
    field[name] = { offset, size };
    offset += size;
  }
  if (offset % 8 !== 0) throw new RangeError(`${offset} bytes are not a multiple of 8`);
  if (!isWhole(field, members)) throw new RangeError("A member is missing");
  return { size: offset, field };
}

/** The part of `size` bytes that begins `at` bytes into a field. */
export function part(field: Field, at: number, size: Size): Field {
  if (at + size > field.size) throw new RangeError(`${size} bytes at ${at} leave a field of ${field.size}`);
  return { offset: field.offset + at, size };
}

function isWhole<Name extends string>(
  field: Partial<Record<Name, Field>>,
  members: Readonly<Record<Name, number>>,
): field is Record<Name, Field> {
  return Object.keys(members).every((name) => name in field);
}
