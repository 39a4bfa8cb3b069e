/** Whose credentials: at which provider, in which realm, under which name. */
export interface CacheIdentity {
  readonly provider: string;
  readonly realm: string;
  /** As the provider normalises it. */
  readonly username: string;
}

/**
 * One string for an identity, injective: each part is preceded by its length, so that no two identities share a key,
 * whatever characters (NUL, digits, colons, lone surrogates) they are made of.
 *
 * @example
 * cacheKey({ provider: "ad", realm: "", username: "ann" }); // "2:ad0:3:ann"
 */
export function cacheKey({ provider, realm, username }: CacheIdentity): string {
  return [provider, realm, username].map((part) => `${part.length}:${part}`).join("");
}
