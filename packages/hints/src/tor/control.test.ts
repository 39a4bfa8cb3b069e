import { createHmac, randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { inspect } from "node:util";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { anyCharacter, streamPair } from "../../test/fakes.ts";
import { ControlParser, parseKeywords, quote } from "./control-protocol.ts";
import { TorControl, TorControlError } from "./control.ts";

const session = [
  "250-PROTOCOLINFO 1",
  '250-AUTH METHODS=COOKIE,SAFECOOKIE COOKIEFILE="/run/a \\"b\\" c"',
  "250 OK",
  "650 STATUS_CLIENT NOTICE BOOTSTRAP PROGRESS=45",
  "250+config=",
  "line one",
  "..dotted",
  ".",
  "250 OK",
  "515 Bad authentication",
  "",
].join("\r\n");

describe("messages", () => {
  const expected = [
    { status: 250, lines: ["PROTOCOLINFO 1", 'AUTH METHODS=COOKIE,SAFECOOKIE COOKIEFILE="/run/a \\"b\\" c"', "OK"] },
    { status: 650, lines: ["STATUS_CLIENT NOTICE BOOTSTRAP PROGRESS=45"] },
    { status: 250, lines: ["config=\nline one\n.dotted", "OK"] },
    { status: 515, lines: ["Bad authentication"] },
  ];

  it("are the same however they are cut", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(session.length)), (cuts) => {
        const places = [0, ...cuts.toSorted((a, b) => a - b), session.length];
        const parser = new ControlParser();
        const messages = places.flatMap((place, index) => {
          const read = parser.push(session.slice(place, places[index + 1] ?? session.length));
          if ("error" in read) throw new Error(read.error);
          return read;
        });
        expect(messages).toEqual(expected);
      }),
    );
  });

  it("any text is messages or an error, within bounds", () => {
    fc.assert(
      fc.property(fc.string({ unit: anyCharacter }), (text) => {
        const read = new ControlParser().push(`${text}\r\n`);
        expect("error" in read || Array.isArray(read)).toBe(true);
      }),
    );
    expect(new ControlParser().push("x".repeat(2_000_000))).toHaveProperty("error");
    expect(new ControlParser().push("250-x\r\n".repeat(2_000_000))).toHaveProperty("error");
    expect(new ControlParser().push("HTTP/1.1 400 Bad Request\r\n")).toHaveProperty("error");
  });

  it("keywords and quoted strings are inverse", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme-ascii" }), (value) => {
        expect(parseKeywords(`AUTH X=1 KEY=${quote(value)} Y=2`)).toEqual(
          new Map([
            ["X", "1"],
            ["KEY", value],
            ["Y", "2"],
          ]),
        );
      }),
    );
  });
});

describe("authentication", () => {
  const cookie = randomBytes(32);
  let directory: string;
  let file: string;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "hints-"));
    file = join(directory, "cookie");
    await writeFile(file, cookie);
    await writeFile(join(directory, "other"), "x".repeat(33));
  });
  afterAll(() => rm(directory, { recursive: true }));

  /** A control port that answers each command by a table; gives what it was told. */
  function port(stream: Duplex, answer: (line: string) => string): string[] {
    const told: string[] = [];
    let pending = "";
    stream.on("data", (chunk: Buffer) => {
      pending += chunk.toString();
      for (let end = pending.indexOf("\r\n"); end >= 0; end = pending.indexOf("\r\n")) {
        const line = pending.slice(0, end);
        pending = pending.slice(end + 2);
        told.push(line);
        stream.write(answer(line));
      }
    });
    return told;
  }
  const offering = (methods: string, path: string) => (line: string) =>
    line.startsWith("PROTOCOLINFO")
      ? `250-PROTOCOLINFO 1\r\n250-AUTH METHODS=${methods} COOKIEFILE=${quote(path)}\r\n250 OK\r\n`
      : "250 OK\r\n";

  it("by cookie, and by nothing where nothing is asked", async () => {
    const [near, far] = streamPair();
    const told = port(far, offering("COOKIE", file));
    await new TorControl(near).authenticate({});
    expect(told).toEqual(["PROTOCOLINFO 1", `AUTHENTICATE ${cookie.toString("hex")}`]);
    const [left, right] = streamPair();
    const open = port(right, () => "250-AUTH METHODS=NULL\r\n250 OK\r\n");
    await new TorControl(left).authenticate({});
    expect(open).toEqual(["PROTOCOLINFO 1", "AUTHENTICATE"]);
  });

  it("by password, which is quoted", async () => {
    const [near, far] = streamPair();
    const told = port(far, offering("HASHEDPASSWORD,COOKIE", file));
    await new TorControl(near).authenticate({ password: 'a "b" \\c' });
    expect(told[1]).toBe('AUTHENTICATE "a \\"b\\" \\\\c"');
  });

  it("by safe cookie only to a port that knows the cookie too, and without sending it", async () => {
    for (const knows of [true, false]) {
      const [near, far] = streamPair();
      const serverNonce = randomBytes(32);
      const told = port(far, (line) => {
        const clientNonce = /^AUTHCHALLENGE SAFECOOKIE ([0-9a-f]{64})$/u.exec(line)?.[1];
        if (clientNonce === undefined) return offering("COOKIE,SAFECOOKIE", file)(line);
        const hash = createHmac("sha256", "Tor safe cookie authentication server-to-controller hash")
          .update(knows ? cookie : randomBytes(32))
          .update(Buffer.from(clientNonce, "hex"))
          .update(serverNonce)
          .digest("hex");
        return `250 AUTHCHALLENGE SERVERHASH=${hash} SERVERNONCE=${serverNonce.toString("hex")}\r\n`;
      });
      const work = new TorControl(near).authenticate({});
      if (knows) await work;
      else await expect(work).rejects.toThrow("does not know its own cookie");
      expect(told.join()).not.toContain(cookie.toString("hex"));
    }
  });

  it("never sends a file that has not the size of a cookie, whatever the port names", async () => {
    const [near, far] = streamPair();
    const told = port(far, offering("COOKIE", join(directory, "other")));
    await expect(new TorControl(near).authenticate({})).rejects.toThrow("32 bytes");
    expect(told).toEqual(["PROTOCOLINFO 1"]);
    const [left, right] = streamPair();
    port(right, offering("HASHEDPASSWORD", file));
    await expect(new TorControl(left).authenticate({})).rejects.toThrow("set a password");
  });

  it("commands are one line, fail with their status, and all fail when the connection does", async () => {
    const [near, far] = streamPair();
    port(far, () => "510 Unrecognized command\r\n");
    const control = new TorControl(near);
    await expect(control.command("A\r\nB")).rejects.toThrow(TypeError);
    await expect(control.command("NOPE secret")).rejects.toMatchObject({ name: "TorControlError", status: 510 });
    const error: unknown = await control.command("NOPE secret").catch((reason: unknown) => reason);
    expect(inspect(error)).not.toContain("secret");
    far.removeAllListeners("data");
    const waiting = control.command("WAIT");
    far.destroy();
    await expect(waiting).rejects.toThrow(TorControlError);
    await expect(control.command("LATER")).rejects.toThrow("Lost Tor");
    expect(await control.closed).toBeInstanceOf(TorControlError);
  });
});
