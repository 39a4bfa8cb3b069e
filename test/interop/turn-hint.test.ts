import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { createTurnHintHandler } from "@turnpike/client";
import { connectReference, Connector, createIdentity, Listener, parseReference } from "@turnpike/hints";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { hashOf, NetcatFolder } from "../support/netcat.ts";
import { type Coturn, startStreamCoturn } from "./support/coturn.ts";
import { ensureDebianPackages } from "./support/debian.ts";

let coturn: Coturn;
let folder: NetcatFolder;
beforeAll(async () => {
  ensureDebianPackages({ packages: ["coturn"], commands: ["turnserver"] });
  coturn = await startStreamCoturn();
  folder = new NetcatFolder();
  writeFileSync(join(folder.path, "credential"), "wonderland\n");
  writeFileSync(join(folder.path, "ca.pem"), coturn.ca);
});
afterAll(async () => {
  await folder.remove();
  await coturn[Symbol.asyncDispose]();
});

/** Flags that name coturn as the relay, over TCP or TLS. */
function relayFlags(scheme: "turn" | "turns"): string[] {
  const port = scheme === "turn" ? coturn.port : coturn.tlsPort;
  return [
    `--turn-relay=${scheme}:127.0.0.1:${port}`,
    "--turn-username=alice",
    "--turn-credential-file=credential",
    "--ca=ca.pem",
    "--allow-address=127.0.0.1",
  ];
}

/** Reads exactly so many bytes; what comes after them stays. */
function take(stream: Duplex, length: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let missing = length;
  return new Promise((resolve, reject) => {
    const cut = (): void => reject(new Error(`ended ${missing} bytes early`));
    const receive = (chunk: Buffer): void => {
      chunks.push(chunk.subarray(0, missing));
      const rest = chunk.subarray(missing);
      missing -= chunk.length - rest.length;
      if (missing > 0) return;
      stream.off("data", receive).off("close", cut).pause();
      if (rest.length > 0) stream.unshift(rest);
      resolve(Buffer.concat(chunks));
    };
    stream.on("data", receive).once("close", cut).resume();
  });
}

const BYTES = 1_000_000;

/** Takes so many bytes, says what their hash is, and sends back as many of its own. */
async function serve(stream: Duplex, back: Buffer): Promise<void> {
  stream.on("error", () => undefined);
  stream.write(hashOf(await take(stream, BYTES)));
  stream.write(back);
}

describe.each(["turn", "turns"] as const)("turn: hints through a relay by %s:", (scheme) => {
  // coturn ends both directions when one side ends, and drops what it still holds: the one who has all ends it.
  test.each(["hints", "reference"])("a file goes each way, by %s", async (by) => {
    const connector = new Connector({ policy: { allow: ["127.0.0.1"] } });
    const relay = `${scheme}:127.0.0.1:${scheme === "turn" ? coturn.port : coturn.tlsPort}`;
    const credentials = { username: "alice", credential: "wonderland", tls: { ca: coturn.ca } };
    connector.addHintHandler("turn", createTurnHintHandler({ relay, ...credentials, connector }));
    const [there, back] = [randomBytes(BYTES), randomBytes(BYTES)];
    const served = Promise.withResolvers<void>();
    const identity = createIdentity();
    const group = new Listener({ gate: connector.gate, ...(by === "reference" ? { identity } : {}) }).listen({
      specs: ["tcp:127.0.0.1:0"],
      onStream: (stream) => void serve(stream, back).then(served.resolve, served.reject),
    });
    const { advertised, reference = "" } = await group.ready;
    const hints = advertised.map(({ hint }) => hint.replace("tcp:", "turn:"));
    const connection =
      by === "reference"
        ? await connectReference(connector, { ...parseReference(reference), hints })
        : await connector.connect({ hints });
    const { stream, type, halfClose } = connection;
    expect([type, halfClose]).toEqual(["turn", by === "reference"]);
    stream.write(there);
    expect((await take(stream, 64)).toString()).toBe(hashOf(there));
    expect(hashOf(await take(stream, BYTES))).toBe(hashOf(back));
    await served.promise;
    stream.destroy();
    await group.close();
    await connector.close();
  });

  test("a wrong credential, and a peer that is not there, are told clearly", async () => {
    writeFileSync(join(folder.path, "wrong"), "hunter2\n");
    const flags = relayFlags(scheme).map((flag) => flag.replace("=credential", "=wrong"));
    const wrong = folder.start(["connect", "turn:127.0.0.1:1", ...flags]);
    expect(await wrong.child.ended).toBe(1);
    expect(wrong.child.stderr()).toContain("doesn't accept the user name and credential");
    expect(wrong.child.stderr()).not.toContain("hunter2");
    const nobody = folder.start(["connect", "turn:127.0.0.1:1", ...relayFlags(scheme)]);
    expect(await nobody.child.ended).toBe(1);
    expect(nobody.child.stderr()).toContain("447");
  });
});

test("turn: hints reach global peers only, unless configuration allows others", async () => {
  const flags = relayFlags("turn").filter((flag) => !flag.startsWith("--allow-address"));
  const { child } = folder.start(["connect", "turn:10.0.0.1:80", ...flags]);
  expect(await child.ended).toBe(2);
  expect(child.stderr()).toContain("10.0.0.1 is private; only global addresses");
});
