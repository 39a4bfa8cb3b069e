import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hashSync } from "bcryptjs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { OperationContext } from "../core/operation-context.ts";
import { Secret } from "../core/secret.ts";
import { ManualClock } from "../testing/manual-clock.ts";
import { createExternalVerifier, type ExternalVerifier, type ExternalVerifierConfig } from "./external-verifier.ts";

const ctx = OperationContext.internal("test");

let directory: string;
const opened: ExternalVerifier[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "turnpike-external-"));
  await writeFile(join(directory, "htpasswd"), `alice:${hashSync("wonderland", 4)}\n`);
});

afterEach(async () => {
  await Promise.all(opened.splice(0).map((each) => each.close()));
  await rm(directory, { recursive: true });
});

async function open(config: Partial<ExternalVerifierConfig> = {}) {
  const external = await createExternalVerifier({
    externalAuth: { kind: "htpasswd", path: join(directory, "htpasswd") },
    ...config,
  });
  opened.push(external);
  const login = (username: string, password: string) =>
    external.verifier.verify(ctx, { username, password: new Secret(password) });
  return { ...external, login };
}

describe("createExternalVerifier", () => {
  it("asks each time unless the cache is enabled", async () => {
    const { login, cache } = await open();
    for (let time = 0; time < 2; time++) {
      const result = await login("alice", "wonderland");
      expect(result).toMatchObject({ kind: "verified", subject: "alice" });
      expect(result).not.toHaveProperty("source");
    }
    expect(await login("alice", "looking-glass")).toMatchObject({ kind: "rejected", reason: "badCredentials" });
    expect(cache.inspect(ctx)).toMatchObject({
      entries: 0,
      settings: { enabled: false, expirySeconds: 300, size: 50 },
    });
  });

  it("puts the configured cache before it, which can be flushed and changed", async () => {
    const clock = new ManualClock();
    const { login, cache } = await open({
      clock,
      externalAuthCache: { enabled: true, expirySeconds: 1.5, size: 1 },
    });
    const sourceOf = async (): Promise<unknown> => {
      const result = await login("alice", "wonderland");
      return result.kind === "verified" ? (result.source ?? "provider") : result.kind;
    };
    expect([await sourceOf(), await sourceOf()]).toEqual(["provider", "cache"]);
    clock.advance(1500);
    expect([await sourceOf(), await sourceOf()]).toEqual(["provider", "cache"]);
    await cache.flush(ctx, { username: "alice" });
    expect(await sourceOf()).toBe("provider");
    cache.configure(ctx, { enabled: false });
    expect(await sourceOf()).toBe("provider");
  });

  it("asks HTTP services, and runs local checks on what is cached as well", async () => {
    let asked = 0;
    const server = createServer((_request, response) => {
      asked++;
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ subject: "u-1" }));
    }).listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a TCP server has such an address
    const { port } = server.address() as AddressInfo;
    let isDisabled = false;
    try {
      const { login } = await open({
        externalAuth: { kind: "http", url: `http://127.0.0.1:${port}/` },
        externalAuthCache: { enabled: true },
        localCheck: (_ctx, verified) => (isDisabled ? { kind: "rejected", reason: "locked" } : verified),
      });
      expect(await login("alice", "x")).toMatchObject({ kind: "verified", subject: "u-1" });
      isDisabled = true;
      expect(await login("alice", "x")).toMatchObject({ kind: "rejected", reason: "locked" });
      expect(asked).toBe(1);
    } finally {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  });

  it("answers nothing after it was closed", async () => {
    const external = await open();
    await external.close();
    expect(await external.login("alice", "wonderland")).toMatchObject({ kind: "unavailable" });
  });

  it.each<[Partial<ExternalVerifierConfig>, RegExp]>([
    [{ externalAuth: { kind: "ldap", url: "http://a.example", userDn: "uid={username}" } }, /ldaps:\/\/host/u],
    [{ externalAuth: { kind: "ldap", url: "ldap://a.example", userDn: "uid={username}" } }, /unencrypted/u],
    [{ externalAuth: { kind: "http", url: "ftp://a.example" } }, /ftp:/u],
    [{ externalAuth: { kind: "htpasswd", path: "/nowhere/htpasswd" } }, /ENOENT/u],
    [{ externalAuthCache: { expirySeconds: 0 } }, /expiry must be above 0/u],
  ])("says what is wrong: %j", async (config, message) => {
    await expect(open(config)).rejects.toThrow(message);
  });
});
