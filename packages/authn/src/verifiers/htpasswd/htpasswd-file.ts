/** One user of a file. */
export interface HtpasswdUser {
  readonly username: string;
  /** `$2a$`, `$2b$` or `$2y$`, 60 characters. */
  readonly hash: string;
  /** bcrypt's cost: twice the work for each step. */
  readonly cost: number;
}

/** A line that can't be used. */
export interface HtpasswdError {
  /** From 1 on. */
  readonly line: number;
  /** What is wrong, and the way out. Never holds the hash. */
  readonly message: string;
}

const BCRYPT = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$/u;
const MIN_COST = 4;
/** 2¹⁵ rounds take seconds; beyond, one sign-in would stop all others for minutes. */
const MAX_COST = 15;
const OTHERS: readonly (readonly [RegExp, string])[] = [
  [/^\$2/u, "a bcrypt hash that is cut or damaged"],
  [/^\$apr1\$/u, "MD5 (apr1)"],
  [/^\{SHA\}/u, "unsalted SHA-1"],
  [/^\{SSHA\}/u, "SHA-1"],
  [/^\$1\$/u, "MD5-crypt"],
  [/^\$5\$|^\$6\$/u, "SHA-crypt"],
];

/** Reads a file of Apache's `htpasswd`: lines `user:hash`, blank ones and `#` comments. Only bcrypt is taken. */
export function parseHtpasswd(text: string): {
  readonly users: ReadonlyMap<string, HtpasswdUser>;
  readonly errors: readonly HtpasswdError[];
} {
  const users = new Map<string, HtpasswdUser>();
  const errors: HtpasswdError[] = [];
  for (const [index, raw] of text
    .replace(/^\uFEFF/u, "")
    .split(/\r?\n/u)
    .entries()) {
    const line = index + 1;
    if (raw.trim() === "" || raw.startsWith("#")) continue;
    const colon = raw.indexOf(":");
    if (colon <= 0) {
      errors.push({ line, message: 'is not "user:hash"' });
      continue;
    }
    const username = raw.slice(0, colon);
    // Apache lets more fields follow, and reads past them.
    const hash =
      raw
        .slice(colon + 1)
        .trimEnd()
        .split(":", 1)[0] ?? "";
    const cost = Number(BCRYPT.exec(hash)?.[1] ?? Number.NaN);
    if (Number.isNaN(cost)) errors.push({ line, message: refusal(hash) });
    else if (cost < MIN_COST || cost > MAX_COST) {
      errors.push({ line, message: `has bcrypt cost ${cost}; use ${MIN_COST} to ${MAX_COST}: htpasswd -B -C 10` });
    } else if (users.has(username)) errors.push({ line, message: "names a user a second time" });
    else users.set(username, { username, hash, cost });
  }
  return { users, errors };
}

function refusal(hash: string): string {
  const known = OTHERS.find(([pattern]) => pattern.test(hash))?.[1] ?? "plain text or DES";
  return `holds ${known}; only bcrypt is taken: make the line anew with htpasswd -B`;
}
