import { randomBytes } from "node:crypto";
import { chmod, link, mkdir, open, readFile, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";

/** A file with a secret in it is readable by others, or cannot be used. */
export class SecretFileError extends Error {
  override readonly name = "SecretFileError";
}

/**
 * Reads a file that only its owner may read; nothing if it is not there.
 *
 * @throws SecretFileError if group or others have any right on it.
 */
export async function readSecretFile(path: string): Promise<string | undefined> {
  let mode: number;
  try {
    ({ mode } = await stat(path));
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
  if ((mode & 0o077) !== 0 && process.platform !== "win32") {
    throw new SecretFileError(`${path} holds a secret and others may read it: run chmod 600 on it`);
  }
  return readFile(path, "utf8");
}

/**
 * Creates a file of mode 0600 and its directory (0700), whole or not at all. If it exists already, it is left as it is:
 * of two processes that start together, both use what the first one wrote.
 */
export async function createSecretFile(path: string, content: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const draft = `${path}.${randomBytes(8).toString("hex")}.new`;
  const file = await open(draft, "wx", 0o600);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
  try {
    await chmod(draft, 0o600);
    await link(draft, path);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
  } finally {
    await rm(draft, { force: true });
  }
}
