/** The platform's UTF-8 codecs: in every browser, worker and Node, but in no ECMAScript library. */
declare const TextDecoder: new (
  label: string,
  options: { readonly fatal: boolean; readonly ignoreBOM: boolean },
) => { decode(bytes: Uint8Array): string };
declare const TextEncoder: new () => { encode(text: string): Uint8Array };

/**
 * UTF-8 of `text`.
 *
 * @throws TypeError if it has a lone surrogate, which has no UTF-8.
 */
export function encodeUtf8(text: string): Uint8Array {
  const ascii = text.length <= SHORT ? encodeAscii(text) : undefined;
  if (ascii !== undefined) return ascii;
  if (!text.isWellFormed()) throw new TypeError("Cannot encode text as UTF-8: it has a lone surrogate");
  return encoder.encode(text);
}

/** Strict: undefined if `bytes` are not well-formed UTF-8 (RFC 3629). A byte order mark stays. */
export function decodeUtf8(bytes: Uint8Array): string | undefined {
  const ascii = bytes.length <= SHORT ? decodeAscii(bytes) : undefined;
  if (ascii !== undefined) return ascii;
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}

/** Number of characters as the RFCs count them: code points. */
export function characterCount(text: string): number {
  let count = 0;
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index);
    if (unit < 0xdc00 || unit > 0xdfff) count++;
  }
  return count;
}

/** Names, realms and nonces; up to here a loop is faster than the platform's codecs. */
const SHORT = 64;
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function encodeAscii(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(text.length);
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index);
    if (unit >= 0x80) return undefined;
    bytes[index] = unit;
  }
  return bytes;
}

function decodeAscii(bytes: Uint8Array): string | undefined {
  let text = "";
  for (let index = 0; index < bytes.length; index++) {
    const byte = bytes[index]!;
    if (byte >= 0x80) return undefined;
    text += String.fromCharCode(byte);
  }
  return text;
}
