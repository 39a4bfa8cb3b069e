/** Chromium runs `@turnpike/credentials` as it is published, and a real RTCPeerConnection gets what it fetches. */
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { mintTimeLimited, toIceServers } from "@turnpike/credentials";
import { expect, test } from "vitest";

const dist = new URL("../../packages/credentials/dist/", import.meta.url);
/** Debian's package of that name has it. */
const browserCommand = "chromium";
const urls = ["stun:127.0.0.1:9", "turn:127.0.0.1:9"];

/** Runs in the page: two connections agree, then one of them gets ICE servers and negotiates anew. */
const script = `
import { mintTimeLimited, refreshIceServers, verifyTimeLimited } from "/dist/index.js";
const run = async () => {
  const [ours, theirs] = [new RTCPeerConnection(), new RTCPeerConnection()];
  ours.createDataChannel("x");
  await ours.setLocalDescription();
  await theirs.setRemoteDescription(ours.localDescription);
  await theirs.setLocalDescription();
  await ours.setRemoteDescription(theirs.localDescription);
  const fragment = () => /a=ice-ufrag:(.*)/.exec(ours.localDescription.sdp)[1];
  const before = fragment();
  const negotiationNeeded = new Promise((resolve) => { ours.onnegotiationneeded = resolve; });
  const refresher = refreshIceServers({ source: "/v1/credentials", peerConnections: [ours] });
  const { iceServers } = await refresher.ready;
  await negotiationNeeded;
  await ours.setLocalDescription();
  refresher.stop();
  const { username, credential } = iceServers[1];
  const own = await mintTimeLimited({ secrets: "north", user: "bob" });
  return {
    configured: ours.getConfiguration().iceServers,
    restarted: fragment() !== before,
    verified: (await verifyTimeLimited({ username, credential, secrets: "north" })).ok,
    own: (await verifyTimeLimited({ ...own, secrets: "north" })).ok,
  };
};
const result = await run().catch((error) => ({ error: String(error) }));
await fetch("/result", { method: "POST", body: JSON.stringify(result) });
`;

test("mints, verifies, fetches, and restarts ICE in a browser", async () => {
  const credential = await mintTimeLimited({ secrets: "north", user: "alice" });
  const { promise: result, resolve: report } = Promise.withResolvers<unknown>();
  const answers: Readonly<Record<string, readonly [string, string]>> = {
    "/": ["text/html", `<!doctype html><script type="module">${script}</script>`],
    "/v1/credentials": ["application/json", JSON.stringify({ iceServers: toIceServers({ urls, credential }) })],
  };
  const server = createServer((request, response) => {
    const path = request.url ?? "/";
    const send = ([type, body]: readonly [string, string]) =>
      response.writeHead(200, { "content-type": type }).end(body);
    const known = answers[path];
    if (path === "/result") {
      void text(request).then((body) => report(JSON.parse(body)));
      send(["text/plain", ""]);
    } else if (known !== undefined) {
      send(known);
    } else {
      readFile(fileURLToPath(new URL(path.replace("/dist/", ""), dist)), "utf8").then(
        (source) => send(["text/javascript", source]),
        () => response.writeHead(404).end(),
      );
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const url = typeof address === "object" ? `http://127.0.0.1:${String(address?.port)}/` : "";
  const profile = await mkdtemp(join(tmpdir(), "turnpike-chromium-"));
  const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", `--user-data-dir=${profile}`];
  const browser = spawn(browserCommand, [...flags, url], { stdio: "ignore" });
  const gone = new Promise<void>((resolve) => browser.once("close", () => resolve()));
  try {
    const failed = new Promise<never>((_resolve, reject) => browser.once("error", reject));
    expect(await Promise.race([result, failed])).toMatchObject({
      configured: [{ urls: [urls[0]] }, { urls: [urls[1]], username: expect.stringMatching(/^\d{10}:alice$/u) }],
      restarted: true,
      verified: true,
      own: true,
    });
  } finally {
    browser.kill();
    await gone;
    server.closeAllConnections();
    server.close();
    await rm(profile, { recursive: true, force: true });
  }
});
