import { describe, expect, it } from "vitest";
import { answerSocks, settle, streamPair } from "../test/fakes.ts";
import { socksConnect, SocksError } from "./socks-client.ts";

const { signal } = new AbortController();

describe("SOCKS5", () => {
  it("asks for names as names, with user name and password", async () => {
    const [near, far] = streamPair();
    const asked: unknown[] = [];
    answerSocks(far, { asked: (...what) => asked.push(what), afterwards: (stream) => stream.pipe(stream) });
    const stream = await socksConnect(near, { host: "a.example", port: 80, username: "u", password: "p", signal });
    expect(asked).toEqual([["a.example", 80, "u", "p"]]);
    stream.end("hello");
    expect(await read(stream)).toBe("hello");
  });

  it("loses nothing of a peer that speaks first, however late somebody listens", async () => {
    const [near, far] = streamPair();
    answerSocks(far, { greetingAfterReply: "220 first", afterwards: (stream) => stream.end(" then second") });
    const stream = await socksConnect(near, { host: "a.example", port: 25, signal });
    await settle();
    expect(await read(stream)).toBe("220 first then second");
  });

  it.each([
    [5, "refused"],
    [0xf0, "descriptor"],
    [0x42, "code 66"],
  ])("says what reply %i means", async (reply, words) => {
    const [near, far] = streamPair();
    answerSocks(far, { reply });
    const failure = socksConnect(near, { host: "a.example", port: 80, username: "u", password: "hidden", signal });
    await expect(failure).rejects.toMatchObject({ name: "SocksError", reply, message: expect.stringContaining(words) });
    expect(near.destroyed).toBe(true);
  });

  it("never carries the password in an error", async () => {
    const [near, far] = streamPair();
    far.once("data", () => far.write("HTTP/1.1 400 Bad Request\r\n\r\n"));
    const error: unknown = await socksConnect(near, {
      host: "a.example",
      port: 80,
      username: "u",
      password: "hidden",
      signal,
    }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(SocksError);
    const { inspect } = await import("node:util");
    expect(inspect(error, { depth: 9 })).not.toContain("hidden");
  });

  it("stops at once when aborted, and when the proxy goes away", async () => {
    const [near] = streamPair();
    const scope = new AbortController();
    const aborted = socksConnect(near, { host: "a.example", port: 80, signal: scope.signal });
    scope.abort(new Error("enough"));
    await expect(aborted).rejects.toThrow("enough");
    expect(near.destroyed).toBe(true);
    const [left, right] = streamPair();
    const gone = socksConnect(left, { host: "a.example", port: 80, signal });
    right.end();
    await expect(gone).rejects.toThrow("closed");
  });
});

async function read(stream: AsyncIterable<Buffer>): Promise<string> {
  let text = "";
  for await (const chunk of stream) text += chunk.toString();
  return text;
}
