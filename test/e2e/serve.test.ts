/** What a newcomer does with the lines that `turnpike serve` prints, and portal and relay as processes of their own. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseTransportAddress } from "@turnpike/stun";
import { afterAll, describe, expect, it } from "vitest";
import { type Child, ROOT, runChild, startChild } from "../support/child.ts";
import { keep } from "../support/relay.ts";
import type { AnswerBody, IceServer } from "../support/portal.ts";
import { UdpTurnClient } from "../support/udp-turn-client.ts";

const folder = mkdtempSync(join(tmpdir(), "turnpike-serve-"));
afterAll(() => rmSync(folder, { recursive: true }));

const START_MS = 30_000;
const RELAY = [
  "--listen=udp:127.0.0.1:0",
  "--relay-address=127.0.0.1",
  "--allow-peer=127.0.0.0/8",
  "--penalty-delay=none",
  "--log-format=json",
];

function start(args: readonly string[]): Child {
  const child = startChild({ command: "turnpike", args, cwd: folder });
  keep({
    async [Symbol.asyncDispose]() {
      await child.stop();
    },
  });
  return child;
}

async function ask(
  url: string,
  token: string,
  options: RequestInit = {},
): Promise<{ status: number; body: AnswerBody }> {
  const headers = {
    authorization: `Bearer ${token}`,
    ...(options.body === undefined ? {} : { "content-type": "application/json" }),
  };
  const response = await fetch(url, { ...options, headers });
  const text = await response.text();
  return { status: response.status, body: text === "" ? ({} as AnswerBody) : JSON.parse(text) };
}

async function clientOf([entry]: readonly IceServer[]): Promise<UdpTurnClient> {
  const { urls, username = "", credential = "" } = entry!;
  const server = parseTransportAddress(/^turn:(127\.0\.0\.1:\d+)\?transport=udp$/.exec(urls[0]!)?.[1] ?? "");
  return keep(await UdpTurnClient.open(server!, { username, password: credential }));
}

/** What `/v1/events` says, as it comes. */
async function eventsOf(
  url: string,
  token: string,
): Promise<{ until(isThere: (text: string) => boolean): Promise<void> }> {
  const end = new AbortController();
  keep({ [Symbol.asyncDispose]: async () => end.abort() });
  const stream = await fetch(url, { headers: { authorization: `Bearer ${token}` }, signal: end.signal });
  const reader = stream.body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  return {
    async until(isThere) {
      while (!isThere(text)) text += (await reader.read()).value ?? "";
    },
  };
}

/** The first line that follows a line. */
function after(child: Child, line: string): string {
  return child.stdout().split(`${line}\n`)[1]?.split("\n")[0]?.trim() ?? "";
}

describe("npm start", () => {
  it("prints all that one needs to mint, allocate, look, and revoke", async () => {
    const dataDir = mkdtempSync(join(folder, "data-"));
    // Not by npm itself, which would have the signals below, and keep them.
    const script: string = JSON.parse(readFileSync(`${ROOT}package.json`, "utf8")).scripts.start;
    const [turnpike, ...serve] = script.split(" ");
    expect(turnpike).toBe("turnpike");
    const flags = [...RELAY, "--portal-listen=127.0.0.1:0", `--data-dir=${dataDir}`];
    const child = start([...serve, ...flags]);
    await child.waitFor((it) => it.stdout().trimEnd().endsWith("}"), START_MS);
    const url = after(child, "The portal serves at");
    const [, header = "", body = "", target = ""] =
      /curl -X POST -H 'Authorization: Bearer (tp_[\w-]{43})' -H '[^']*' -d '([^']*)' (\S+)/.exec(child.stdout()) ?? [];
    expect(after(child, "The administrator's access token, shown this once:")).toBe(header);
    expect(after(child, "Sign in once, within an hour:")).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/sign-in#[\w-]{43}$/);

    const minted = await ask(target, header, { method: "POST", body });
    expect(minted.status).toBe(201);
    const [{ urls, username, credential }] = minted.body.iceServers as [Required<IceServer>];
    const seen = await eventsOf(`${url}/v1/events?user=admin`, header);
    const check = await runChild({
      command: "turnpike",
      args: ["check", urls[0]!, `--username=${username}`, "--json"],
      environment: { TURNPIKE_CREDENTIAL: credential },
      timeoutMs: START_MS,
    });
    expect(check).toMatchObject({ code: 0 });

    await seen.until((text) => text.includes("event: allocationCreated"));

    const client = await clientOf(minted.body.iceServers);
    expect(await client.allocate()).toMatchObject({ family: 4 });
    await expect
      .poll(async () => (await ask(`${url}/v1/allocations?user=admin`, header)).body.allocations)
      .toMatchObject([{ username }]);
    const path = `${url}/v1/credentials/${encodeURIComponent(username)}/revoke`;
    const revokedAt = performance.now();
    expect((await ask(path, header, { method: "POST" })).status).toBe(204);
    await seen.until((text) => text.includes("credentialRevoked"));
    console.info(
      `an allocation ended ${Math.round(performance.now() - revokedAt)} ms after its revocation was asked for`,
    );
    expect(await client.refresh(600)).not.toBe("success");
    await expect.poll(async () => (await ask(`${url}/v1/allocations`, header)).body.allocations).toEqual([]);

    const printed = child.stdout();
    const guest = JSON.parse(printed.slice(printed.indexOf("{\n"))).iceServers as IceServer[];
    expect(await (await clientOf(guest)).allocate()).toMatchObject({ family: 4 });
    for (const secret of [header, credential, guest[0]!.credential!]) expect(child.stderr()).not.toContain(secret);
    child.signal("SIGTERM");
    child.signal("SIGINT");
    expect(await child.ended).toBe(0);

    const again = start([...serve, ...flags]);
    await again.waitFor((it) => it.stdout().trimEnd().endsWith("}"), START_MS);
    expect(again.stdout()).not.toMatch(/tp_[\w-]{43}|sign-in#/);
    expect(again.stdout()).toContain("--sign-in-link admin prints a new way in");
    again.signal("SIGTERM");
    again.signal("SIGINT");
    await again.ended;

    const late = start([...serve, ...flags, "--sign-in-link=admin"]);
    await late.waitFor((it) => it.stdout().trimEnd().endsWith("}"), START_MS);
    expect(after(late, "Sign in once, within an hour:")).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/sign-in#[\w-]{43}$/);
    late.signal("SIGTERM");
    late.signal("SIGINT");
    await late.ended;

    const stranger = start([...serve, ...flags, "--sign-in-link=nobody"]);
    expect(await stranger.ended).toBe(2);
    expect(stranger.stderr()).toContain('--sign-in-link: There is no user "nobody" who may sign in.');
  });
});

describe("turnpike portal and turnpike relay", () => {
  it("work apart from one file; the relay waits for its portal, and says why it can't link", async () => {
    const file = join(folder, "fleet.toml");
    writeFileSync(
      file,
      [
        "[relay]",
        'listen = ["udp:127.0.0.1:0"]',
        'relay_addresses = ["127.0.0.1"]',
        "[portal]",
        'listen = "127.0.0.1:0"',
        `store = "${join(folder, "fleet.db")}"`,
        "[penalties]",
        'delay = "none"',
        "[log]",
        'format = "json"',
      ].join("\n"),
    );
    const portal = start(["portal", `--config=${file}`]);
    await portal.waitFor((it) => it.stdout().includes("/sign-in#"), START_MS);
    const url = after(portal, "The portal serves at");
    const token = after(portal, "The administrator's access token, shown this once:");
    const made = await ask(`${url}/v1/relays`, token, { method: "POST", body: JSON.stringify({ name: "eu-1" }) });
    writeFileSync(join(folder, "token"), `${made.body.token}\n`);
    const relay = start(["relay", `--config=${file}`, `--portal=${url}`, `--token-file=${join(folder, "token")}`]);
    await relay.waitFor((it) => it.stderr().includes("The relay is serving"), START_MS);
    expect(relay.stderr().indexOf("The portal link is up")).toBeLessThan(
      relay.stderr().indexOf("The relay is serving"),
    );
    await expect
      .poll(async () => (await ask(`${url}/v1/credentials`, token, { method: "POST", body: "{}" })).status)
      .toBe(201);

    const refused = await runChild({
      command: "turnpike",
      args: ["relay", `--config=${file}`],
      environment: { FIREZONE_API_URL: url, FIREZONE_TOKEN: `tr_${"x".repeat(43)}` },
      timeoutMs: START_MS,
    });
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining("the portal refuses the token") });
    const tokenless = await runChild({
      command: "turnpike",
      args: ["relay", `--config=${file}`, `--portal=${url}`],
      timeoutMs: START_MS,
    });
    expect(tokenless).toMatchObject({ code: 2, stderr: expect.stringContaining("--portal needs a token") });
    const cleartext = await runChild({
      command: "turnpike",
      args: ["relay", "--portal=http://portal.example", "--token=tr_hunter2"],
      timeoutMs: START_MS,
    });
    expect(cleartext).toMatchObject({ code: 2, stderr: expect.stringContaining("in clear") });
    expect(cleartext.stderr).not.toContain("hunter2");
  });

  it("lets a relay that waits for its portal be stopped", async () => {
    const relay = start(["relay", ...RELAY, "--portal=http://127.0.0.1:1", "--token=tr_x"]);
    await relay.waitFor((it) => it.stderr().includes("The portal link is away"), START_MS);
    relay.signal("SIGTERM");
    expect(await relay.ended).toBe(1);
    expect(relay.stderr()).toContain("the relay is stopping");
  });
});
