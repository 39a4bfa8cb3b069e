/**
 * Prepares and enforces a user name or password by the OpaqueString profile of PRECIS (RFC 8265 §4.2): spaces other
 * than SPACE become SPACE, then normalization form C; case and width stay.
 *
 * Zero-width joiner and non-joiner are refused everywhere: the contexts that would allow them (RFC 5892 §A.1, §A.2)
 * need character properties that ECMAScript doesn't have.
 *
 * @returns undefined if `text` is empty or has characters outside the FreeformClass (RFC 8264 §4.3): controls,
 *   unassigned and private code points, lone surrogates, characters that are ignored by default.
 */
export function opaqueString(text: string): string | undefined {
  if (PRINTABLE_ASCII.test(text)) return text;
  if (!text.isWellFormed()) return undefined;
  const prepared = text.replaceAll(OTHER_SPACES, " ").normalize("NFC");
  if (!FREEFORM.test(prepared) || OUTSIDE.test(prepared)) return undefined;
  return CONTEXTS.every((rule) => rule(prepared)) ? prepared : undefined;
}

const PRINTABLE_ASCII = /^[\x20-\x7e]+$/u;
const OTHER_SPACES = /\p{Zs}/gu;
/** RFC 8264 §8: letters, digits, marks, symbols, punctuation and SPACE. */
const FREEFORM = /^[\p{L}\p{M}\p{N}\p{S}\p{P} ]+$/u;
/** RFC 8264 §8, asked before the categories: exceptions (§9.6), old Hangul jamo (§9.9), ignorables (§9.13). */
const OUTSIDE =
  /[\u0640\u07fa\u302e\u302f\u3031-\u3035\u303b\u1100-\u11ff\ua960-\ua97c\ud7b0-\ud7fb\p{Default_Ignorable_Code_Point}]/u;

/** The contextual rules of RFC 5892 §A.3–§A.9, each true if every such character stands where it may. */
const CONTEXTS: readonly ((text: string) => boolean)[] = [
  (text) => !/(?<!l)\u00b7|\u00b7(?!l)/u.test(text),
  (text) => !/\u0375(?!\p{Script=Greek})/u.test(text),
  (text) => !/(?<!\p{Script=Hebrew})[\u05f3\u05f4]/u.test(text),
  (text) => !text.includes("\u30fb") || /[\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Han}]/u.test(text),
  (text) => !(/[\u0660-\u0669]/u.test(text) && /[\u06f0-\u06f9]/u.test(text)),
];
