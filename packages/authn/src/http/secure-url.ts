/** Keys that come by plain http are anybody's. @throws TypeError if `text` is neither an https URL nor one of loopback. */
export function secureUrl(text: string): URL {
  const url = URL.parse(text);
  const loopback = url !== null && ["127.0.0.1", "[::1]", "localhost"].includes(url.hostname);
  if (url === null || !(url.protocol === "https:" || (url.protocol === "http:" && loopback))) {
    throw new TypeError(`Cannot take keys from "${text}": use an https URL`);
  }
  return url;
}
