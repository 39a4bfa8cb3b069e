/** Where a token may come from. The first that is there counts, in this order. */
export interface TokenSources {
  /** A flag's value. */
  readonly token?: string | undefined;
  /** A file that holds it. */
  readonly tokenFile?: string | undefined;
  /** `TURNPIKE_TOKEN`, `TURNPIKE_TOKEN_FILE`; `FIREZONE_TOKEN`, which is a value or the path of a file. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** Reads a file as text. */
  readonly readFile: (path: string) => string;
}

/**
 * A relay's token, or `undefined` if none is given.
 *
 * @throws Error if a file can't be read; TypeError if what is given is empty. Neither repeats a value.
 */
export function readToken({ token, tokenFile, environment = {}, readFile }: TokenSources): string | undefined {
  if (token !== undefined) return checked(token, "the token");
  if (tokenFile !== undefined) return checked(readFile(tokenFile), `the token in ${tokenFile}`);
  const value = environment["TURNPIKE_TOKEN"];
  if (value !== undefined) return checked(value, "TURNPIKE_TOKEN");
  const file = environment["TURNPIKE_TOKEN_FILE"];
  if (file !== undefined) return checked(readFile(file), `the token in ${file}`);
  const alias = environment["FIREZONE_TOKEN"];
  if (alias === undefined) return undefined;
  return checked(looksLikePath(alias) ? readFile(alias) : alias, "FIREZONE_TOKEN");
}

/** No token begins like a path: they are letters, digits, `.`, `_` and `-`. */
function looksLikePath(value: string): boolean {
  return /^(?:\/|\.{1,2}\/)/.test(value);
}

function checked(value: string, what: string): string {
  const token = value.trim();
  if (token === "") throw new TypeError(`Cannot use ${what}: it is empty`);
  return token;
}
