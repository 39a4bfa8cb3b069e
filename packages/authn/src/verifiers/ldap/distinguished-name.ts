import { foldUsername } from "../verifier.ts";

/** One attribute of a relative distinguished name. */
interface NamePart {
  readonly type: string;
  readonly value: string;
}

/** Relative distinguished names, the most specific first; several parts if joined by `+`. */
export type DistinguishedName = readonly (readonly NamePart[])[];

const TYPE = /^(?:[a-z][a-z0-9-]*|\d+(?:\.\d+)*)$/iu;
const HEX_PAIR = /^[0-9a-f]{2}$/iu;

/** A value made safe to stand in a distinguished name (RFC 4514 §2.4): whatever it holds, it stays one value. */
export function escapeDnValue(value: string): string {
  return value.replaceAll(/^[ #]|["+,;<>\\=]| $/gu, "\\$&").replaceAll("\0", "\\00");
}

/** Reads the string form of RFC 4514 §3; `undefined` if it isn't one. `#` values (BER in hex) stay as they are. */
export function parseDn(text: string): DistinguishedName | undefined {
  const names: NamePart[][] = [];
  let parts: NamePart[] = [];
  let rest = text;
  for (;;) {
    const equals = rest.indexOf("=");
    const type = rest.slice(0, Math.max(0, equals)).trim();
    if (!TYPE.test(type)) return undefined;
    const read = readValue(rest.slice(equals + 1));
    if (read === undefined) return undefined;
    parts.push({ type: type.toLowerCase(), value: read.value });
    if (read.end !== "+") {
      names.push(parts);
      parts = [];
    }
    if (read.end === "") return names;
    rest = read.rest;
  }
}

/** One string for all spellings of a name that directories hold to be equal; `undefined` if it isn't a name. */
export function normalizeDn(text: string): string | undefined {
  const names = parseDn(text);
  if (names === undefined) return undefined;
  return names
    .map((parts) =>
      parts
        .map(({ type, value }) => `${type}=${escapeDnValue(foldUsername(value))}`)
        .toSorted()
        .join("+"),
    )
    .join(",");
}

/** The value up to the next separator that isn't escaped; `end` is that separator, empty at the end. */
function readValue(text: string): { value: string; end: "" | "," | "+"; rest: string } | undefined {
  const bytes: number[] = [];
  const encoder = new TextEncoder();
  // Spaces around a value don't count; escaped ones do.
  let keep = 0;
  let index = text.search(/[^ ]|$/u);
  while (index < text.length) {
    const character = String.fromCodePoint(text.codePointAt(index) ?? 0);
    if (character === "," || character === "+") {
      return { value: decode(bytes, keep), end: character, rest: text.slice(index + 1) };
    }
    if (character === '"' || character === ";" || character === "<" || character === ">") return undefined;
    if (character === "\\") {
      const pair = text.slice(index + 1, index + 3);
      if (HEX_PAIR.test(pair)) {
        bytes.push(Number.parseInt(pair, 16));
        index += 3;
      } else {
        const escaped = text.codePointAt(index + 1);
        if (escaped === undefined) return undefined;
        const literal = String.fromCodePoint(escaped);
        bytes.push(...encoder.encode(literal));
        index += 1 + literal.length;
      }
      keep = bytes.length;
    } else {
      bytes.push(...encoder.encode(character));
      index += character.length;
      if (character !== " ") keep = bytes.length;
    }
  }
  return { value: decode(bytes, keep), end: "", rest: "" };
}

function decode(bytes: readonly number[], length: number): string {
  return new TextDecoder().decode(Uint8Array.from(bytes.slice(0, length)));
}
