import { randomBytes, scrypt, timingSafeEqual } from "node:crypto";
import type { Secret } from "@turnpike/authn";
import { UnavailableError } from "../errors.ts";

const COST = { N: 16_384, r: 8, p: 1 } as const;
const KEY_BYTES = 32;
const SALT_BYTES = 16;

/** Each takes 16 MiB and some tens of milliseconds of a thread: whoever sends many must not have all of them. */
const MAX_UNDER_WAY = 64;
let underWay = 0;

/** A password as it is stored: `scrypt$N$r$p$salt$key`, base64url. */
export async function hashPassword(password: Secret): Promise<string> {
  const salt = randomBytes(SALT_BYTES);
  const key = await derive(password, salt, COST);
  return ["scrypt", COST.N, COST.r, COST.p, salt.toString("base64url"), key.toString("base64url")].join("$");
}

/** Whether that is the password. Without a stored one the answer is no, after the same time. */
export async function verifyPassword(password: Secret, stored: string | undefined): Promise<boolean> {
  const match = /^scrypt\$(\d{1,7})\$(\d{1,2})\$(\d{1,2})\$([\w-]{22})\$([\w-]{43})$/.exec(stored ?? "");
  const [, N, r, p, salt = "", expected = ""] = match ?? [];
  const cost = match === null ? COST : { N: Number(N), r: Number(r), p: Number(p) };
  const key = await derive(password, match === null ? randomBytes(SALT_BYTES) : Buffer.from(salt, "base64url"), cost);
  const wanted = match === null ? randomBytes(KEY_BYTES) : Buffer.from(expected, "base64url");
  return timingSafeEqual(key, wanted) && match !== null;
}

async function derive(password: Secret, salt: Buffer, cost: { N: number; r: number; p: number }): Promise<Buffer> {
  if (underWay >= MAX_UNDER_WAY) throw new UnavailableError("Too many passwords are being checked.");
  underWay++;
  try {
    return await scryptOf(password, salt, cost);
  } finally {
    underWay--;
  }
}

function scryptOf(password: Secret, salt: Buffer, cost: { N: number; r: number; p: number }): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  scrypt(password.reveal().normalize("NFC"), salt, KEY_BYTES, cost, (error, key) => {
    if (error === null) resolve(key);
    else reject(error);
  });
  return promise;
}
