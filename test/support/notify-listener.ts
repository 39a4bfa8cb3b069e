import { rmSync } from "node:fs";
import { type Libc, loadLibc } from "@turnpike/relay";

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const LOOK_EACH_MS = 20;

/** Stands for systemd: takes what a service tells by its NOTIFY_SOCKET (sd_notify(3)). */
export class NotifyListener implements AsyncDisposable {
  readonly path: string;
  readonly #libc: Libc;
  readonly #fd: number;
  readonly #buffer = new Uint8Array(4096);
  readonly #told: string[] = [];

  /** `path` may begin with `@`: the abstract name space. */
  constructor(path: string) {
    const libc = loadLibc();
    if ("unavailable" in libc) throw new Error(libc.unavailable);
    this.path = path;
    this.#libc = libc;
    this.#fd = libc.socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    const name = Buffer.from(path.startsWith("@") ? `\0${path.slice(1)}` : path);
    const address = new Uint8Array([AF_UNIX, 0, ...name]);
    if (libc.bind(this.#fd, libc.addressOf(address), address.length) < 0) throw new Error(`Cannot bind ${path}`);
  }

  /** Everything that was told, in its order. */
  get told(): readonly string[] {
    for (;;) {
      const length = this.#libc.read(this.#fd, this.#libc.addressOf(this.#buffer), this.#buffer.length);
      if (length < 0) return this.#told;
      this.#told.push(new TextDecoder().decode(this.#buffer.subarray(0, length)));
    }
  }

  /** Resolves with the first message from the `from`th on that fits; rejects after `timeoutMs`. */
  async waitFor(pattern: RegExp, { from = 0, timeoutMs = 60_000 } = {}): Promise<string> {
    for (const endMs = Date.now() + timeoutMs; Date.now() < endMs;) {
      const found = this.told.slice(from).find((text) => pattern.test(text));
      if (found !== undefined) return found;
      await new Promise((resolve) => setTimeout(resolve, LOOK_EACH_MS));
    }
    throw new Error(`Nobody told ${pattern}, but: ${JSON.stringify(this.told)}`);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#libc.close(this.#fd);
    if (!this.path.startsWith("@")) rmSync(this.path, { force: true });
    return Promise.resolve();
  }
}
