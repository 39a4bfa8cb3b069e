import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { Duplex } from "node:stream";
import { abortable } from "../clock.ts";
import { ControlParser, type ControlMessage, parseKeywords, quote } from "./control-protocol.ts";

/** Tor's control port refused, failed, or is not one. */
export class TorControlError extends Error {
  override readonly name = "TorControlError";
  /** The status of the reply (control-spec §4), if there was one. */
  readonly status: number | undefined;

  constructor(message: string, options: { readonly status?: number; readonly cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.status = options.status;
  }
}

/** How to show the control port that we may use it. Without either, the cookie that the port names is read. */
export interface TorControlCredentials {
  readonly password?: string | undefined;
  /** Overrides the path that the port names, for a `tor` that sees another file system. */
  readonly cookieFile?: string | undefined;
}

interface Pending {
  readonly resolve: (message: ControlMessage) => void;
  readonly reject: (error: Error) => void;
  readonly verb: string;
}

/** A conversation with Tor's control port. Commands are answered in order; events go to the listener. */
export class TorControl {
  readonly #stream: Duplex;
  readonly #parser = new ControlParser();
  readonly #pending: Pending[] = [];
  readonly #listeners: Set<(lines: readonly string[]) => void> = new Set();
  readonly #closed: PromiseWithResolvers<Error> = Promise.withResolvers();
  #failure: Error | undefined;

  constructor(stream: Duplex) {
    this.#stream = stream;
    const decoder = new TextDecoder();
    stream.on("data", (chunk: Buffer) => this.#read(decoder.decode(chunk, { stream: true })));
    stream.on("error", (error) => this.#fail(error));
    stream.on("end", () => this.#fail(new Error("Tor closed the control connection")));
    stream.on("close", () => this.#fail(new Error("the control connection to Tor is closed")));
  }

  /** Resolves with the reason when the connection is gone. */
  get closed(): Promise<Error> {
    return this.#closed.promise;
  }

  /** Sends a command and waits for its reply. Throws TorControlError unless the reply's status is 2xx. */
  async command(line: string, options: { readonly signal?: AbortSignal } = {}): Promise<ControlMessage> {
    if (/[\r\n\0]/u.test(line)) throw new TypeError("A control command must be one line");
    if (this.#failure !== undefined) throw this.#failure;
    const verb = line.split(" ", 1)[0] ?? "";
    const { promise, resolve, reject } = Promise.withResolvers<ControlMessage>();
    this.#pending.push({ resolve, reject, verb });
    this.#stream.write(`${line}\r\n`);
    const reply = await (options.signal === undefined ? promise : abortable(promise, options.signal));
    if (reply.status >= 200 && reply.status < 300) return reply;
    throw new TorControlError(`Tor refused ${verb}: ${reply.status} ${reply.lines.at(-1) ?? ""}`, {
      status: reply.status,
    });
  }

  /** `GETINFO key`: the value. */
  async info(key: string, options: { readonly signal?: AbortSignal } = {}): Promise<string> {
    const reply = await this.command(`GETINFO ${key}`, options);
    const line = reply.lines.find((candidate) => candidate.startsWith(`${key}=`));
    return line === undefined ? "" : line.slice(key.length + 1).replace(/^\n/u, "");
  }

  /** Calls `listener` with the lines of every event. Returns what stops that. */
  onEvent(listener: (lines: readonly string[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Proves that we may use the port: password if given, else SAFECOOKIE, COOKIE, or nothing if nothing is asked. */
  async authenticate(
    credentials: TorControlCredentials,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<void> {
    const offer = await this.command("PROTOCOLINFO 1", options);
    const line = offer.lines.find((candidate) => candidate.startsWith("AUTH "));
    const words = parseKeywords(line ?? "");
    const methods = new Set((words.get("METHODS") ?? "").split(","));
    if (credentials.password !== undefined && methods.has("HASHEDPASSWORD")) {
      await this.command(`AUTHENTICATE ${quote(credentials.password)}`, options);
      return;
    }
    const cookieFile = credentials.cookieFile ?? words.get("COOKIEFILE");
    if (cookieFile !== undefined && methods.has("SAFECOOKIE")) {
      await this.#authenticateSafely(await readCookie(cookieFile), options);
    } else if (cookieFile !== undefined && methods.has("COOKIE")) {
      await this.command(`AUTHENTICATE ${(await readCookie(cookieFile)).toString("hex")}`, options);
    } else if (methods.has("NULL")) {
      await this.command("AUTHENTICATE", options);
    } else {
      throw new TorControlError(
        `Tor's control port asks for ${[...methods].join(" or ") || "nothing that is known"}; set a password in [hints.tor]`,
      );
    }
  }

  /** Closes the connection. What was added to Tor on it (onion services) goes with it. */
  close(): void {
    this.#stream.destroy();
    this.#fail(new Error("the control connection was closed"));
  }

  /** SAFECOOKIE (control-spec §3.24): both ends prove that they know the cookie; it is not sent. */
  async #authenticateSafely(cookie: Buffer, options: { readonly signal?: AbortSignal }): Promise<void> {
    const clientNonce = randomBytes(32);
    const reply = await this.command(`AUTHCHALLENGE SAFECOOKIE ${clientNonce.toString("hex")}`, options);
    const words = parseKeywords(reply.lines.at(-1) ?? "");
    const serverNonce = Buffer.from(words.get("SERVERNONCE") ?? "", "hex");
    const serverHash = Buffer.from(words.get("SERVERHASH") ?? "", "hex");
    const hash = (key: string): Buffer =>
      createHmac("sha256", key).update(cookie).update(clientNonce).update(serverNonce).digest();
    const expected = hash("Tor safe cookie authentication server-to-controller hash");
    if (serverHash.length !== expected.length || !timingSafeEqual(serverHash, expected)) {
      throw new TorControlError("The control port does not know its own cookie: it is not the tor that it says it is");
    }
    const answer = hash("Tor safe cookie authentication controller-to-server hash");
    await this.command(`AUTHENTICATE ${answer.toString("hex")}`, options);
  }

  #read(text: string): void {
    const messages = this.#parser.push(text);
    if ("error" in messages) {
      this.#stream.destroy();
      this.#fail(new TorControlError(`Cannot read Tor's control port: ${messages.error}`));
      return;
    }
    for (const message of messages) {
      if (message.status >= 600) for (const listener of this.#listeners) listener(message.lines);
      else this.#pending.shift()?.resolve(message);
    }
  }

  #fail(cause: Error): void {
    if (this.#failure !== undefined) return;
    this.#failure =
      cause instanceof TorControlError ? cause : new TorControlError(`Lost Tor: ${cause.message}`, { cause });
    for (const pending of this.#pending.splice(0)) pending.reject(this.#failure);
    this.#closed.resolve(this.#failure);
  }
}

async function readCookie(path: string): Promise<Buffer> {
  let cookie: Buffer;
  try {
    cookie = await readFile(path);
  } catch (error) {
    throw new TorControlError(
      `Cannot read Tor's cookie ${path}: join the group of its owner, or set a password in [hints.tor]`,
      { cause: error },
    );
  }
  // Whoever answers on the port names the file: only what has a cookie's size is ever used.
  if (cookie.length !== 32) throw new TorControlError(`${path} is not a cookie of Tor (32 bytes)`);
  return cookie;
}
