import { createHmac, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { truncates } from "bcryptjs";
import { type Clock, systemClock } from "../../core/clock.ts";
import { printable } from "../../core/logger.ts";
import type { OperationContext } from "../../core/operation-context.ts";
import {
  type Credentials,
  type CredentialVerifier,
  rejectImpossible,
  unavailable,
  type VerifierResult,
} from "../verifier.ts";
import { BcryptThread } from "./bcrypt-thread.ts";
import { type HtpasswdError, type HtpasswdUser, parseHtpasswd } from "./htpasswd-file.ts";

/** Which file to read. */
export interface HtpasswdVerifierOptions {
  /** Names the provider in keys, logs and events. Default: `htpasswd`. */
  readonly provider?: string;
  /** A file as `htpasswd -B` makes it. */
  readonly path: string;
  /** Roles of users, since the file has none. */
  readonly roles?: Readonly<Record<string, readonly string[]>>;
  /** How often, at most, to look whether the file changed, in milliseconds. Default: 1,000. */
  readonly checkEveryMs?: number;
  readonly clock?: Clock;
}

const MAX_FILE_BYTES = 16 * 1024 * 1024;
/** What an unknown user is compared with if the file is empty: a hash of cost 10 that nobody knows the password of. */
const NOBODY = `$2b$10$${".".repeat(53)}`;

/**
 * Asks a file of user names and bcrypt hashes, and reads it anew when it changed. When a line of a changed file can't be
 * used, that user can't sign in, the others can, and the log says which line; when the file can't be read, the answer is
 * `unavailable`.
 *
 * @example
 * const verifier = new HtpasswdVerifier({ path: "/etc/turnpike/htpasswd" });
 */
export class HtpasswdVerifier implements CredentialVerifier {
  readonly provider: string;
  readonly #path: string;
  readonly #roles: ReadonlyMap<string, readonly string[]>;
  readonly #checkEveryMs: number;
  readonly #clock: Clock;
  readonly #thread = new BcryptThread();
  readonly #choice = randomBytes(32);
  #users: ReadonlyMap<string, HtpasswdUser> = new Map();
  /** Of all users, to choose a stand-in from. */
  #hashes: readonly string[] = [];
  #version = "";
  #checkedAtMs = -Infinity;
  #checking: Promise<void> | undefined;

  /** @throws Error if the file can't be read, TypeError if a line of it can't be used: it names each */
  constructor({
    provider = "htpasswd",
    path,
    roles = {},
    checkEveryMs = 1000,
    clock = systemClock,
  }: HtpasswdVerifierOptions) {
    this.provider = provider;
    this.#path = path;
    this.#roles = new Map(Object.entries(roles));
    this.#checkEveryMs = checkEveryMs;
    this.#clock = clock;
    const { users, errors } = parseHtpasswd(readFileSync(path, "utf8"));
    if (errors.length > 0) throw new TypeError(`Cannot use ${path}: ${errors.slice(0, 10).map(describe).join("; ")}`);
    this.#use(users);
  }

  async verify(ctx: OperationContext, credentials: Credentials): Promise<VerifierResult> {
    const impossible = rejectImpossible(credentials);
    if (impossible !== undefined) return impossible;
    const { username, password } = credentials;
    try {
      await (this.#checking ??= this.#reload(ctx).finally(() => (this.#checking = undefined)));
      const user = this.#users.get(username);
      const clear = password.reveal();
      // bcrypt reads 72 bytes: a longer password would be one with all that begin alike.
      const tooLong = truncates(clear);
      // Chosen for those who exist as well, so that choosing takes their time too.
      const standIn = this.#standIn(username);
      const hash = user?.hash ?? standIn;
      const same = await this.#thread.compare(clear, hash, credentials.signal ?? ctx.signal);
      if (user === undefined) return { kind: "rejected", reason: "unknownUser" };
      if (tooLong) return { kind: "rejected", reason: "badCredentials", detail: "bcrypt reads 72 bytes only" };
      if (!same) return { kind: "rejected", reason: "badCredentials" };
      return { kind: "verified", subject: username, groups: [], roles: this.#roles.get(username)?.toSorted() ?? [] };
    } catch (error) {
      return unavailable(`htpasswd provider "${this.provider}" gave no answer`, error);
    }
  }

  async close(): Promise<void> {
    await this.#thread.close();
  }

  /**
   * Some user's hash, always the same for the same unknown name: over all names the time is spread as it is over the
   * users, so that it doesn't tell who exists.
   */
  #standIn(username: string): string {
    const number = createHmac("sha256", this.#choice).update(username).digest().readUInt32BE();
    return this.#hashes[number % this.#hashes.length] ?? NOBODY;
  }

  #use(users: ReadonlyMap<string, HtpasswdUser>): void {
    this.#users = users;
    this.#hashes = Array.from(users.values(), ({ hash }) => hash);
  }

  async #reload(ctx: OperationContext): Promise<void> {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#checkedAtMs < this.#checkEveryMs) return;
    const { ino, size, mtimeNs, ctimeNs } = await stat(this.#path, { bigint: true });
    if (size > MAX_FILE_BYTES) throw new RangeError(`${this.#path} is longer than ${MAX_FILE_BYTES} bytes`);
    const version = [ino, size, mtimeNs, ctimeNs].join();
    if (version !== this.#version) {
      const { users, errors } = parseHtpasswd(await readFile(this.#path, "utf8"));
      for (const error of errors) {
        ctx.logger.error(
          { path: printable(this.#path, { maxLength: 300 }) },
          `a user can't sign in: ${describe(error)}`,
        );
      }
      this.#use(users);
      this.#version = version;
    }
    // Only a look that went well counts: after a failure the next question looks again.
    this.#checkedAtMs = nowMs;
  }
}

function describe({ line, message }: HtpasswdError): string {
  return `line ${line} ${message}`;
}
