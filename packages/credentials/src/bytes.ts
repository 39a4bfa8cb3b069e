import { ambient } from "./ambient.ts";

/** UTF-8. */
export function utf8(text: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new ambient.TextEncoder().encode(text));
}

/** RFC 4648 §4, with padding. */
export function base64(bytes: Uint8Array): string {
  return ambient.btoa(String.fromCharCode(...bytes));
}

/** RFC 4648 §5 without padding. */
export function base64url(bytes: Uint8Array): string {
  return withoutPadding(base64(bytes)).replaceAll("+", "-").replaceAll("/", "_");
}

/** Drops the `=` at the end. */
export function withoutPadding(text: string): string {
  return text.slice(0, text.length - (text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0));
}

/** All of `chunks` in one array that nobody else writes to. */
export function concat(chunks: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(chunks.reduce((length, chunk) => length + chunk.length, 0));
  let offset = 0;
  for (const chunk of chunks) {
    whole.set(chunk, offset);
    offset += chunk.length;
  }
  return whole;
}

/** Compares in a time that depends on the lengths alone. */
export function equalInConstantTime(a: Uint8Array, b: Uint8Array): boolean {
  let difference = a.length ^ b.length;
  for (let i = 0; i < b.length; i++) difference |= (a[i] ?? 0) ^ (b[i] ?? 0);
  return difference === 0;
}
