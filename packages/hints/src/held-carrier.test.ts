import { once } from "node:events";
import { type Duplex, duplexPair } from "node:stream";
import { setImmediate as turn } from "node:timers/promises";
import { expect, it } from "vitest";
import { createIdentity } from "./index.ts";
import { HeldCarrier } from "./held-carrier.ts";
import { startTls } from "./tls-client.ts";

const { signal } = new AbortController();
const reset = Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET" });

/** Two ends that speak TLS through something that passes bytes on, but no ends; and the carrier below the near one. */
async function tlsPair(): Promise<{ readonly near: Duplex; readonly far: Duplex; readonly carrier: Duplex }> {
  const identity = createIdentity();
  const [carrier, nearMiddle] = duplexPair();
  const [farCarrier, farMiddle] = duplexPair();
  nearMiddle.on("data", (chunk: Buffer) => farMiddle.write(chunk));
  farMiddle.on("data", (chunk: Buffer) => nearMiddle.write(chunk));
  const pin = { kind: "pin", keyDigest: identity.keyDigest } as const;
  const [near, far] = await Promise.all([
    identity.accept(carrier, { signal }),
    startTls(new HeldCarrier(farCarrier), { identity: pin, signal }),
  ]);
  return { near, far, carrier };
}

/** Everything that comes out of a stream, and how it closes. */
async function drained(stream: Duplex): Promise<string> {
  let text = "";
  stream.on("data", (chunk: Buffer) => (text += chunk.toString()));
  await once(stream, "close");
  return text;
}

it("a carrier that is reset when TLS has ended both ways is no error, and nothing that came is lost", async () => {
  const { near, far, carrier } = await tlsPair();
  far.resume();
  const said = [once(far, "finish"), once(far, "end"), once(near, "finish")];
  far.end("all that was to be said");
  near.end();
  await Promise.all(said);
  // The pair in memory passes bytes on within a turn or two; nobody reads them yet.
  for (let passed = 0; passed < 20 || near.readableLength === 0; passed += 1) await turn();
  carrier.destroy(reset);
  await new Promise((resolve) => carrier.once("close", resolve));
  await turn();
  expect(await drained(near)).toBe("all that was to be said");
  expect(near.errored).toBeNull();
});

it("a carrier that is reset while something is still to be sent is an error", async () => {
  const { near, far, carrier } = await tlsPair();
  far.end("question");
  while (near.readableLength === 0) await turn();
  const failed = once(near, "error");
  carrier.destroy(reset);
  expect(await failed).toEqual([reset]);
});

it("a carrier that is reset, or ends, before the peer has ended TLS is an error", async () => {
  for (const cut of [
    (carrier: Duplex) => carrier.destroy(reset),
    (carrier: Duplex) => carrier.push(null),
    (carrier: Duplex) => carrier.destroy(),
  ]) {
    const { near, far, carrier } = await tlsPair();
    far.write("half");
    near.end();
    while (near.readableLength === 0) await turn();
    const failed = new Promise((resolve) => near.once("error", resolve));
    near.resume();
    cut(carrier);
    expect(await failed).toBeInstanceOf(Error);
  }
});
