import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hashSync } from "bcryptjs";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { OperationContext } from "../../core/operation-context.ts";
import { Secret } from "../../core/secret.ts";
import { ManualClock } from "../../testing/manual-clock.ts";
import { RecordingLogger } from "../../testing/recording-logger.ts";
import { BcryptThread } from "./bcrypt-thread.ts";
import { HtpasswdVerifier, type HtpasswdVerifierOptions } from "./htpasswd-verifier.ts";

const logger = new RecordingLogger();
const ctx = OperationContext.internal("test", { logger });
const line = (username: string, password: string, cost = 4): string => `${username}:${hashSync(password, cost)}\n`;

let directory: string;
let path: string;
let verifiers: HtpasswdVerifier[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "turnpike-htpasswd-"));
  path = join(directory, "htpasswd");
  logger.lines.length = 0;
});

afterEach(async () => {
  vi.restoreAllMocks();
  await Promise.all(verifiers.map((verifier) => verifier.close()));
  verifiers = [];
  await rm(directory, { recursive: true });
});

function make(options: Partial<HtpasswdVerifierOptions> = {}) {
  const clock = new ManualClock();
  const verifier = new HtpasswdVerifier({ path, clock, ...options });
  verifiers.push(verifier);
  const login = (username: string, password: string) =>
    verifier.verify(ctx, { username, password: new Secret(password) });
  return { clock, login };
}

/** As an editor does it: the new file takes the old one's place. */
async function replaceFile(content: string): Promise<void> {
  await writeFile(`${path}.new`, content);
  await rename(`${path}.new`, path);
}

describe("HtpasswdVerifier", () => {
  it("knows users, and their roles by configuration", async () => {
    await writeFile(path, line("ann", "right") + line("Bob", "bobs"));
    const { login } = make({ roles: { ann: ["operator", "admin"] } });
    expect(await login("ann", "right")).toEqual({
      kind: "verified",
      subject: "ann",
      groups: [],
      roles: ["admin", "operator"],
    });
    expect(await login("ann", "wrong")).toEqual({ kind: "rejected", reason: "badCredentials" });
    expect(await login("bob", "bobs")).toEqual({ kind: "rejected", reason: "unknownUser" });
    expect(await login("Bob", "bobs")).toMatchObject({ kind: "verified", roles: [] });
  });

  it("takes hashes as htpasswd -B writes them ($2y$)", async () => {
    await writeFile(path, line("ann", "right").replace("$2b$", "$2y$"));
    expect(await make().login("ann", "right")).toMatchObject({ kind: "verified" });
  });

  it("doesn't let what stands behind the 72nd byte not count", async () => {
    const long = "p".repeat(72);
    await writeFile(path, line("ann", long));
    const { login } = make();
    expect(await login("ann", long)).toMatchObject({ kind: "verified" });
    expect(await login("ann", `${long}!`)).toMatchObject({ kind: "rejected", reason: "badCredentials" });
  });

  it("refuses to start with what it can't use, and says each line", async () => {
    await writeFile(path, `${line("ann", "right")}bob:$apr1$x$y\ncid:plain\n`);
    expect(() => make()).toThrow(/line 2 holds MD5 \(apr1\).*line 3 holds plain text/u);
    await rm(path);
    expect(() => make()).toThrow(/ENOENT/u);
    await writeFile(path, "");
  });

  it("reads a changed file anew, at most so often", async () => {
    await writeFile(path, line("ann", "right"));
    const { clock, login } = make({ checkEveryMs: 1000 });
    expect(await login("ann", "right")).toMatchObject({ kind: "verified" });
    await replaceFile(line("bob", "bobs"));
    clock.advance(999);
    expect(await login("ann", "right")).toMatchObject({ kind: "verified" });
    clock.advance(1);
    expect(await login("ann", "right")).toMatchObject({ reason: "unknownUser" });
    expect(await login("bob", "bobs")).toMatchObject({ kind: "verified" });
  });

  it("goes on for the others when a line of a changed file can't be used, and logs it", async () => {
    await writeFile(path, line("ann", "right") + line("bob", "bobs"));
    const { clock, login } = make();
    await login("ann", "right");
    await replaceFile(`ann:{SHA}x\n${line("bob", "bobs")}`);
    clock.advance(1000);
    expect(await login("ann", "right")).toMatchObject({ kind: "rejected" });
    expect(await login("bob", "bobs")).toMatchObject({ kind: "verified" });
    expect(logger.lines).toEqual([
      { level: "error", fields: { path }, message: expect.stringMatching(/line 1 holds unsalted SHA-1/u) },
    ]);
  });

  it("is unavailable while the file is away, and looks again at once", async () => {
    await writeFile(path, line("ann", "right"));
    const { clock, login } = make();
    await login("ann", "right");
    await rename(path, `${path}.away`);
    clock.advance(1000);
    expect(await login("ann", "right")).toMatchObject({ kind: "unavailable" });
    expect(await login("nobody", "x")).toMatchObject({ kind: "unavailable" });
    await rename(`${path}.away`, path);
    expect(await login("ann", "right")).toMatchObject({ kind: "verified" });
  });

  it("does one comparison for everybody, at the costs that users have", async () => {
    await writeFile(path, line("ann", "a", 4) + line("bob", "b", 5));
    const compare = vi.spyOn(BcryptThread.prototype, "compare");
    const { login } = make();
    const costs = async (names: readonly string[]): Promise<readonly string[]> => {
      compare.mockClear();
      for (const name of names) await login(name, "x");
      return compare.mock.calls.map(([, hash]) => hash.slice(0, 7));
    };
    expect(await costs(["ann", "bob"])).toEqual(["$2b$04$", "$2b$05$"]);
    const unknown = Array.from({ length: 40 }, (_, i) => `nobody${i}`);
    const first = await costs(unknown);
    expect(new Set(first)).toEqual(new Set(["$2b$04$", "$2b$05$"]));
    expect(await costs(unknown)).toEqual(first);
    await replaceFile("");
    const empty = make();
    compare.mockClear();
    expect(await empty.login("ann", "a")).toEqual({ kind: "rejected", reason: "unknownUser" });
    expect(compare).toHaveBeenCalledTimes(1);
  });
});
