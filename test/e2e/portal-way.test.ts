import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { connect, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer } from "node:tls";
import { createIdentity, formatReference } from "@turnpike/hints";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TestAuthority } from "../support/certificates.ts";
import { type Child, runChild, startChild } from "../support/child.ts";
import { internal, startTestPortal, type TestPortal } from "../support/portal.ts";
import { keep } from "../support/relay.ts";
import { startSocksServer } from "../support/socks-server.ts";

const authority = new TestAuthority();
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "turnpike-way-"));
  writeFileSync(join(folder, "ca.pem"), authority.ca);
});
afterAll(() => rmSync(folder, { recursive: true }));

/** The portal behind TLS, as a proxy gives it. */
async function behindTls(portal: TestPortal, pair: { readonly key: string; readonly cert: string }): Promise<number> {
  const { port } = portal.portal.address;
  const server = createServer(pair, (socket) => {
    const onward = connect({ host: "127.0.0.1", port });
    for (const [one, other] of [[socket, onward] as const, [onward, socket] as const]) {
      one.on("error", () => other.destroy());
      one.once("close", () => other.destroy());
      one.pipe(other);
    }
  });
  server.on("tlsClientError", () => undefined);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  keep({
    async [Symbol.asyncDispose]() {
      await new Promise((resolve) => server.close(resolve));
    },
  });
  return (server.address() as AddressInfo).port;
}

const RELAY = ["--listen=udp:127.0.0.1:0", "--relay-address=127.0.0.1", "--metrics=off", "--health=off"];

async function relayOf(portal: TestPortal, flags: readonly string[]): Promise<Child> {
  const token = await portal.portal.createRelayToken(internal, "edge");
  const child = startChild({
    command: "turnpike",
    args: ["relay", ...RELAY, "--ca=ca.pem", ...flags],
    cwd: folder,
    environment: { TURNPIKE_TOKEN: token, XDG_RUNTIME_DIR: "" },
  });
  keep({
    async [Symbol.asyncDispose]() {
      await child.stop();
    },
  });
  return child;
}

const isUp = (child: Child): boolean => child.stderr().includes("The portal link is up");

describe("turnpike relay links to its portal", () => {
  test("by https, through the handlers of [hints]", async () => {
    const portal = await startTestPortal();
    const port = await behindTls(portal, authority.issue(["portal.example", "localhost"]));
    const relay = await relayOf(portal, [`--portal=tls:localhost:${port}`]);
    await relay.waitFor(isUp, 60_000);
  });

  test("by https through SOCKS, as hints.tcp = tor has it, the name resolved there", async () => {
    const portal = await startTestPortal();
    const port = await behindTls(portal, authority.issue(["portal.example"]));
    const socks = keep(await startSocksServer((target) => (target === "portal.example:443" ? port : undefined)));
    const flags = ["--portal=https://portal.example", "--via=tor", `--tor-socks=127.0.0.1:${socks.port}`];
    const relay = await relayOf(portal, flags);
    await relay.waitFor(isUp, 60_000);
    expect(new Set(socks.asked)).toEqual(new Set(["portal.example:443"]));
  });

  test("a certificate of another name gets no token", async () => {
    const portal = await startTestPortal();
    const port = await behindTls(portal, authority.issue(["other.example"]));
    const relay = await relayOf(portal, [`--portal=tls:localhost:${port}`]);
    await relay.waitFor((child) => child.stderr().includes("does not prove that the peer is localhost"), 60_000);
    expect(isUp(relay)).toBe(false);
  });

  test("by a reference: whoever has its key, over whichever of its hints", async () => {
    const portal = await startTestPortal();
    const identity = createIdentity();
    const port = await behindTls(portal, identity.tlsOptions());
    const hints = ["tcp:127.0.0.1:1", `tcp:127.0.0.1:${port}`];
    const reference = formatReference({ keyDigest: identity.keyDigest, hints, realm: "" });
    const relay = await relayOf(portal, [`--portal=${reference}`]);
    await relay.waitFor(isUp, 60_000);
    const other = formatReference({ keyDigest: createIdentity().keyDigest, hints, realm: "" });
    const misled = await relayOf(portal, [`--portal=${other}`]);
    await misled.waitFor((child) => child.stderr().includes("another key than the one"), 60_000);
  });

  test.each([
    ["tcp:192.0.2.1:80", "tcp:192.0.2.1:80 would send the token in clear"],
    ["tor:portal.example:80", "tor:portal.example:80 would send the token in clear"],
    ["http://portal.example", "would send the token in clear"],
    ["portal.example", "portal.url: Cannot use hint"],
    ["turnpike://x@/", "portal.url: Cannot read reference"],
  ])("refuses %s with exit code 2", async (portal, message) => {
    const result = await runChild({
      command: "turnpike",
      args: ["relay", ...RELAY, `--portal=${portal}`, "--token=tr_hunter2"],
      cwd: folder,
      timeoutMs: 30_000,
    });
    expect(result).toMatchObject({ code: 2, stderr: expect.stringContaining(message) });
    expect(result.output).not.toContain("hunter2");
  });
});
