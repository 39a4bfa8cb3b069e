/** A browser sends no more; parsing stays linear and bounded. */
const MAX_COOKIE_FIELD_LENGTH = 8_192;

/**
 * All values of one cookie (RFC 6265 §4.2.1), in their order. A library's parse gives one for each name, but a name that
 * comes twice is a sign of a planted cookie. Nothing is decoded: the values asked for hold no percent signs.
 */
export function cookieValues(field: string | undefined, name: string): readonly string[] {
  if (field === undefined || field.length > MAX_COOKIE_FIELD_LENGTH) return [];
  const values: string[] = [];
  for (const pair of field.split(";")) {
    const equals = pair.indexOf("=");
    if (equals !== -1 && pair.slice(0, equals).trim() === name) values.push(pair.slice(equals + 1).trim());
  }
  return values;
}
