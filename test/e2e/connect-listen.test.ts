import { statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { hashOf, type Netcat, NetcatFolder } from "../support/netcat.ts";

let folder: NetcatFolder;
beforeAll(() => {
  folder = new NetcatFolder();
});
afterAll(() => folder.remove());

/** Both files arrived whole, and both commands ended well. */
async function expectExchange(listening: Netcat, connecting: Netcat): Promise<void> {
  const codes = await Promise.all([connecting.child.ended, listening.child.ended]);
  const said = `${connecting.child.stderr()}\n${listening.child.stderr()}`;
  expect(codes, said).toEqual([0, 0]);
  expect(listening.receivedHash()).toBe(connecting.sentHash);
  expect(connecting.receivedHash()).toBe(listening.sentHash);
}

describe("turnpike connect and turnpike listen carry a file both ways", () => {
  test("over tcp; the port that was found is kept for the next start", async () => {
    const listening = await folder.listen(["tcp:127.0.0.1:0"]);
    const connecting = folder.start(["connect", "--status", "quic:127.0.0.1:1", ...listening.hints]);
    await expectExchange(listening, connecting);
    expect(connecting.child.stderr()).toMatch(/^! quic:127\.0\.0\.1:1 +ignored/mu);
    expect(connecting.child.stderr()).toMatch(/^✓ tcp:127\.0\.0\.1:\d+ +won/mu);
    const again = await folder.listen(["tcp:127.0.0.1:0"]);
    expect(again.hints).toEqual(listening.hints);
    await again.child.stop();
  });

  test("over ws, by the old form host:port beside it", async () => {
    const listening = await folder.listen(["ws:127.0.0.1:0/stream"]);
    await expectExchange(listening, folder.start(["connect", "127.0.0.1:1", ...listening.hints]));
  });

  test("over a Unix socket, which only hints that a person typed may reach", async () => {
    const path = join(folder.path, "socket");
    const listening = await folder.listen([`unix:${path}`]);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    await expectExchange(listening, folder.start(["connect", `unix:${path}`]));
  });

  test("by a reference, over whichever hint carries its key", async () => {
    const listening = await folder.listen([
      "--reference",
      "--realm=example.org",
      "tcp:127.0.0.1:0",
      "wss:127.0.0.1:0/x",
    ]);
    const reference = listening.reference ?? "";
    expect(reference).toMatch(
      /^turnpike:\/\/[a-z2-7]{52}@tcp:127\.0\.0\.1:\d+,wss:127\.0\.0\.1:\d+%2Fx\/example\.org$/u,
    );
    expect(statSync(join(folder.path, "turnpike", "identity.pem")).mode & 0o777).toBe(0o600);
    await expectExchange(listening, folder.start(["connect", reference]));
  });

  test("an impostor gets not one byte", async () => {
    const listening = await folder.listen(["--reference", "tcp:127.0.0.1:0"]);
    const [hint = ""] = listening.hints;
    const connecting = folder.start(["connect", `turnpike://${"a".repeat(52)}@${hint}/`]);
    expect(await connecting.child.ended).toBe(1);
    expect(connecting.child.stderr()).toContain("another key than the one that identifies it");
    listening.child.signal("SIGTERM");
    expect(await listening.child.ended).toBe(1);
    expect(listening.child.stderr()).toContain("stopped by SIGTERM");
    expect(listening.receivedHash()).toBe(hashOf(new Uint8Array()));
  });
});

describe("turnpike connect", () => {
  test.each([
    [["tcp:127.0.0.1"], "the port is missing"],
    [["turnpike://x@/"], "Cannot read reference"],
    [["tor:example.com:80", "--hide-ip"], "hints.tcp = tcp: TCP leaves directly"],
    [["127.0.0.1:80", "--hide-ip", "--via", "disabled"], "disabled by local configuration"],
    [["unix:/run/x", "--via", "carrier-pigeon"], "must be one of: tcp, tor, disabled"],
    [["turn:192.0.2.1:80"], "no handler is registered for its type"],
    [["turn:192.0.2.1:80", "--turn-relay", "turn:127.0.0.1?transport=udp"], "streams need ?transport=tcp"],
    [["turn:192.0.2.1:80", "--turn-relay", "turn:127.0.0.1", "--turn-username", "a"], "go together"],
  ])("refuses %j with exit code 2", async (args, message) => {
    const { child } = folder.start(["connect", ...args]);
    expect(await child.ended, child.stderr()).toBe(2);
    expect(child.stderr()).toContain(message);
  });

  test("says why no hint works, with exit code 1", async () => {
    const { child } = folder.start(["connect", "--status", "tcp:127.0.0.1:1"]);
    expect(await child.ended).toBe(1);
    expect(child.stderr()).toContain("✗ tcp:127.0.0.1:1");
    expect(child.stderr()).toContain("turnpike:   tcp:127.0.0.1:1 (127.0.0.1): connecting: connect ECONNREFUSED");
  });
});

describe("turnpike listen", () => {
  test.each([
    [[], "nothing to listen on"],
    [["tcp:nowhere:1"], "bind to a literal address"],
    [["tcp:0", "--hide-ip"], "hints.listen = tcp:0: listens on the network"],
    [["onion:4000", "--hide-ip", "--advertise=tcp:192.0.2.1:1"], "hints.advertise = tcp:192.0.2.1:1"],
    [["onion:4000", "--tor-launch"], "hints.tor.launch needs hints.tor.data_dir"],
  ])("refuses %j with exit code 2", async (args, message) => {
    const { child } = folder.start(["listen", ...args]);
    expect(await child.ended, child.stderr()).toBe(2);
    expect(child.stderr()).toContain(message);
  });
});
