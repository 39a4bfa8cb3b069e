import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { inspect } from "node:util";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { anyCharacter } from "../test/fakes.ts";
import { decodeBase32, encodeBase32 } from "./base32.ts";
import {
  Connector,
  connectReference,
  createIdentity,
  formatReference,
  InvalidReferenceError,
  Listener,
  loadIdentity,
  parseReference,
  sameIdentity,
} from "./index.ts";

const keyDigest = new Uint8Array(32).map((_, index) => index * 7);
const key = encodeBase32(keyDigest);
const policy = { privateAddresses: "literal" } as const;

const printableCharacter = anyCharacter.filter((text) => !/\p{C}/u.test(text));

describe("writing and reading", () => {
  it("escapes what separates", () => {
    const reference = {
      keyDigest,
      hints: ["unix:/run/x,y", "wss:a.example:443/x@y?z", "tcp:[::1]:80"],
      realm: "a/b é",
    };
    const text = formatReference(reference);
    expect(text).toBe(
      `turnpike://${key}@unix:%2Frun%2Fx%2Cy,wss:a.example:443%2Fx%40y%3Fz,tcp:[::1]:80/a%2Fb%20%C3%A9`,
    );
    expect(parseReference(text)).toEqual(reference);
  });

  it("are inverse", () => {
    const hint = fc.string({ unit: printableCharacter, minLength: 1, maxLength: 40 });
    const realm = fc.string({ unit: printableCharacter, maxLength: 30 });
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        fc.array(hint, { maxLength: 16 }),
        realm,
        (digest, hints, name) => {
          const reference = { keyDigest: digest, hints, realm: name };
          expect(parseReference(formatReference(reference))).toEqual(reference);
        },
      ),
    );
  });

  it.each([
    ["", "bad-scheme"],
    ["http://x", "bad-scheme"],
    [`turnpike://${key}`, "bad-key"],
    [`turnpike://${key.toUpperCase()}@/r`, "bad-key"],
    [`turnpike://${key.slice(1)}@/r`, "bad-key"],
    [`turnpike://${key.slice(0, -1)}7@/r`, "bad-key"],
    [`turnpike://${key}@tcp:a:1`, "bad-realm"],
    [`turnpike://${key}@tcp:a:1/${"r".repeat(128)}`, "bad-realm"],
    [`turnpike://${key}@tcp:a:1/%0a`, "bad-realm"],
    [`turnpike://${key}@tcp:a:1/a/b`, "bad-encoding"],
    [`turnpike://${key}@tcp:a%zz:1/r`, "bad-encoding"],
    [`turnpike://${key}@tcp:a%ff:1/r`, "bad-encoding"],
    [`turnpike://${key}@tcp:a 1/r`, "bad-encoding"],
    [`turnpike://${key}@,/r`, "bad-hint"],
    [`turnpike://${key}@tcp:%0A/r`, "bad-hint"],
    [`turnpike://${key}@${"a".repeat(257)}/r`, "bad-hint"],
    [`turnpike://${key}@${Array(17).fill("a:1").join(",")}/r`, "too-many-hints"],
    [`turnpike://${"a".repeat(1_000_000)}`, "too-long"],
  ])("refuses %.60j: %s", (text, code) => {
    expect(() => parseReference(text)).toThrow(InvalidReferenceError);
    expect(() => parseReference(text)).toThrow(expect.objectContaining({ code }) as Error);
  });

  it("any string is a reference or a typed error", () => {
    fc.assert(
      fc.property(fc.string({ unit: anyCharacter }), (rest) => {
        try {
          const read = parseReference(`turnpike://${key}@${rest}`);
          expect(parseReference(formatReference(read))).toEqual(read);
        } catch (error) {
          if (!(error instanceof InvalidReferenceError)) throw error;
        }
      }),
    );
  });

  it("refuses to write what could not be read back", () => {
    const good = { keyDigest, hints: ["tcp:a:1"], realm: "r" };
    const bad = [
      { ...good, hints: [""] },
      { ...good, hints: ["tcp:a\n:1"] },
      { ...good, hints: ["\ud800"] },
      { ...good, hints: Array.from({ length: 17 }, (_, index) => `tcp:a:${index}`) },
      { ...good, realm: "r".repeat(128) },
      { ...good, keyDigest: new Uint8Array(31) },
    ];
    for (const reference of bad) expect(() => formatReference(reference)).toThrow(TypeError);
  });

  it("compares by key and realm, not by hints", () => {
    const one = { keyDigest, hints: ["tcp:a:1"], realm: "r" };
    expect(sameIdentity(one, { ...one, hints: [] })).toBe(true);
    expect(sameIdentity(one, { ...one, realm: "s" })).toBe(false);
    expect(sameIdentity(one, { ...one, keyDigest: new Uint8Array(32) })).toBe(false);
  });

  it("base32 has one spelling", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        expect(decodeBase32(encodeBase32(bytes), bytes.length)).toEqual(bytes);
      }),
    );
    expect(encodeBase32(Buffer.from("foobar"))).toBe("mzxw6ytboi");
    expect(decodeBase32("mzxw6ytb", 6)).toBeUndefined();
    expect(decodeBase32("ab", 1)).toBeUndefined();
  });
});

describe("the identity's file", () => {
  it("is made once, with mode 0600, and refused if others may read it", async () => {
    const directory = await mkdtemp(join(tmpdir(), "hints-"));
    const file = join(directory, "keys", "identity.pem");
    const [first, second] = await Promise.all([loadIdentity({ file }), loadIdentity({ file })]);
    expect(second.keyDigest).toEqual(first.keyDigest);
    expect((await loadIdentity({ file })).keyDigest).toEqual(first.keyDigest);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(inspect(first, { depth: 9, showHidden: true }) + JSON.stringify(first)).not.toContain("PRIVATE KEY");
    const open = join(directory, "open.pem");
    await writeFile(open, "x", { mode: 0o644 });
    await expect(loadIdentity({ file: open })).rejects.toThrow("chmod 600");
    await rm(directory, { recursive: true });
  });
});

describe("connecting", () => {
  const closing: (() => unknown)[] = [];
  afterAll(() => closing.forEach((close) => close()));

  it.each(["tcp:127.0.0.1:0", "tls:127.0.0.1:0", "wss:127.0.0.1:0/x"])(
    "speaks TLS with the key over %s",
    async (spec) => {
      const connector = new Connector({ policy });
      const identity = createIdentity();
      const group = new Listener({ gate: connector.gate, identity }).listen({
        specs: [spec],
        realm: "turnpike",
        onStream: (stream) => stream.pipe(stream),
      });
      closing.push(() => group.close());
      const { reference } = await group.ready;
      const { stream, statuses } = await connectReference(connector, parseReference(reference ?? ""));
      stream.end("echo");
      expect(await text(stream)).toBe("echo");
      expect(statuses.map(({ state }) => state)).toEqual(["won"]);
    },
  );

  it("an interceptor with another key gets not one byte of application data", async () => {
    const connector = new Connector({ policy });
    const taken: Buffer[] = [];
    const group = new Listener({ gate: connector.gate, identity: createIdentity() }).listen({
      specs: ["tcp:127.0.0.1:0"],
      onStream: (stream) => stream.on("data", (chunk: Buffer) => taken.push(chunk)),
    });
    closing.push(() => group.close());
    const { advertised } = await group.ready;
    const honest = createIdentity();
    const connecting = connectReference(connector, {
      keyDigest: honest.keyDigest,
      hints: advertised.map(({ hint }) => hint),
      realm: "",
    }).then(({ stream }) => stream.end("secret"));
    await expect(connecting).rejects.toMatchObject({ cause: { name: "IdentityError", code: "wrong-key" } });
    await new Promise((resolve) => setImmediate(resolve));
    expect(Buffer.concat(taken).length).toBe(0);
  });

  it("an interceptor that passes the handshake on but cannot read it only sees TLS", async () => {
    const connector = new Connector({ policy });
    const identity = createIdentity();
    const group = new Listener({ gate: connector.gate, identity }).listen({
      specs: ["tcp:127.0.0.1:0"],
      onStream: (stream) => stream.pipe(stream),
    });
    closing.push(() => group.close());
    const { advertised } = await group.ready;
    const port = Number(advertised[0]?.hint.split(":").at(-1));
    const seen: Buffer[] = [];
    const middle = createServer({ allowHalfOpen: true }, (socket) => {
      const onward = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
      socket.on("data", (chunk: Buffer) => seen.push(chunk));
      socket.pipe(onward).pipe(socket);
      socket.on("error", () => undefined);
      onward.on("error", () => undefined);
    });
    await new Promise<void>((resolve) => middle.listen(0, "127.0.0.1", resolve));
    closing.push(() => middle.close());
    const hint = `tcp:127.0.0.1:${(middle.address() as AddressInfo).port}`;
    const { stream } = await connectReference(connector, { keyDigest: identity.keyDigest, hints: [hint], realm: "" });
    stream.end("plainly secret words");
    expect(await text(stream)).toBe("plainly secret words");
    expect(Buffer.concat(seen).includes("secret")).toBe(false);
  });

  /** A reference's stream at both ends, over a wire that can be hurt. */
  async function throughMiddle() {
    const connector = new Connector({ policy });
    const identity = createIdentity();
    const served = Promise.withResolvers<Duplex>();
    const group = new Listener({ gate: connector.gate, identity }).listen({
      specs: ["tcp:127.0.0.1:0"],
      onStream: served.resolve,
    });
    closing.push(() => group.close());
    const { advertised } = await group.ready;
    const port = Number(advertised[0]?.hint.split(":").at(-1));
    const wires: Socket[] = [];
    const middle = createServer({ allowHalfOpen: true }, (socket) => {
      const onward = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
      socket.pipe(onward, { end: false }).pipe(socket, { end: false });
      for (const wire of [socket, onward]) wires.push(wire.on("error", () => undefined));
    });
    await new Promise<void>((resolve) => middle.listen(0, "127.0.0.1", resolve));
    closing.push(() => middle.close());
    const hint = `tcp:127.0.0.1:${(middle.address() as AddressInfo).port}`;
    const { stream } = await connectReference(connector, { keyDigest: identity.keyDigest, hints: [hint], realm: "" });
    const ends = [stream, await served.promise].map(
      (one) =>
        new Promise<unknown>((resolve) =>
          one
            .once("end", () => resolve("end"))
            .once("error", resolve)
            .resume(),
        ),
    );
    return { wires, ends: () => Promise.all(ends) };
  }

  it("a carrier that is cut is an error at both ends, not the end of a file", async () => {
    const { wires, ends } = await throughMiddle();
    for (const wire of wires) wire.end();
    const cut = expect.objectContaining({ message: expect.stringContaining("cut off") });
    expect(await ends()).toEqual([cut, cut]);
  });

  it("a carrier that is reset is an error at both ends", async () => {
    const { wires, ends } = await throughMiddle();
    for (const wire of wires) wire.resetAndDestroy();
    expect(await ends()).toEqual([expect.any(Error), expect.any(Error)]);
  });

  it("goes on past an impostor to the right peer, and never masks it", async () => {
    const connector = new Connector({ policy });
    const identity = createIdentity();
    const wrong = new Listener({ gate: connector.gate, identity: createIdentity() });
    const impostor = wrong.listen({ specs: ["tcp:127.0.0.1:0"], onStream: (stream) => stream.destroy() });
    const group = new Listener({ gate: connector.gate, identity }).listen({
      specs: ["tcp:127.0.0.1:0"],
      onStream: (stream) => stream.destroy(),
    });
    closing.push(
      () => impostor.close(),
      () => group.close(),
    );
    const hints = [...(await impostor.ready).advertised, ...(await group.ready).advertised].map(({ hint }) => hint);
    const { hint } = await connectReference(connector, { keyDigest: identity.keyDigest, hints, realm: "" });
    expect(hint).toBe(hints[1]);
    await group.close();
    await expect(
      connectReference(connector, { keyDigest: identity.keyDigest, hints, realm: "" }),
    ).rejects.toMatchObject({
      cause: { code: "wrong-key" },
      failures: [{ phase: "negotiating" }, { phase: "connecting", cause: { code: "ECONNREFUSED" } }],
    });
  });
});

async function text(stream: Duplex): Promise<string> {
  let all = "";
  for await (const chunk of stream) all += String(chunk);
  return all;
}
