import { type Child, startChild } from "./child.ts";
import { keep } from "./relay.ts";

const START_MS = 60_000;

/** A `turnpike serve` of a test, and requests to its portal. */
export class ServedPortal {
  readonly child: Child;
  readonly url: string;

  private constructor(child: Child, url: string) {
    this.child = child;
    this.url = url;
  }

  /** Starts it in `folder`, by the file `turnpike.toml` there. */
  static async start(
    folder: string,
    { more = [], environment = {} }: { more?: readonly string[]; environment?: Readonly<Record<string, string>> } = {},
  ): Promise<ServedPortal> {
    const flags = ["--listen=udp:127.0.0.1:0", "--relay-address=127.0.0.1", "--portal-listen=127.0.0.1:0"];
    const args = ["serve", ...flags, `--data-dir=${folder}`, "--health=off", "--log-format=json", ...more];
    const child = startChild({ command: "turnpike", args, cwd: folder, environment });
    keep({
      async [Symbol.asyncDispose]() {
        await child.stop();
      },
    });
    await child.waitFor((it) => it.stdout().trimEnd().endsWith("}"), START_MS);
    return new ServedPortal(child, /The portal serves at\n {2}(\S+)/.exec(child.stdout())?.[1] ?? "");
  }

  async request(
    method: string,
    path: string,
    { headers = {}, body }: { headers?: Record<string, string>; body?: unknown } = {},
  ): Promise<{ readonly status: number; readonly headers: Headers; readonly body: Record<string, unknown> }> {
    const response = await fetch(this.url + path, {
      method,
      headers: { ...headers, ...(body === undefined ? {} : { "content-type": "application/json" }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, headers: response.headers, body: text === "" ? {} : JSON.parse(text) };
  }

  /** A request with user name and password. */
  basic(
    user: string,
    password: string,
    method: string,
    path: string,
    body?: unknown,
  ): Promise<Awaited<ReturnType<ServedPortal["request"]>>> {
    const headers = { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}` };
    return this.request(method, path, { headers, body });
  }
}
