/** From a directory to a relayed packet: sign-in at slapd, a minted credential, an allocation with it. */
import { transportAddress } from "@turnpike/stun";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Child, startChild } from "../support/child.ts";
import { keep } from "../support/relay.ts";
import { startTurnpike, type TurnServerProcess } from "../support/turn-server.ts";
import { UdpPeer } from "../support/udp-peer.ts";
import { UdpTurnClient } from "../support/udp-turn-client.ts";
import { BASE_DN, person, type Slapd, startSlapd } from "./support/slapd.ts";

const SECRET = "north-star-secret";

let slapd: Slapd;
let relay: TurnServerProcess;
let service: Child;
let url: string;

beforeAll(async () => {
  slapd = await startSlapd({ ldif: person("ann", { password: "ann-password" }) });
  relay = await startTurnpike({ addresses: ["127.0.0.1"], sharedSecrets: [SECRET] });
  service = startChild({
    command: "node",
    args: ["--conditions=@turnpike/source", "examples/ldap-credentials.ts"],
    environment: {
      PORT: "0",
      LDAP_URL: slapd.url,
      LDAP_USER_DN: `uid={username},ou=people,${BASE_DN}`,
      TURN_SECRET: SECRET,
      TURN_URL: `turn:127.0.0.1:${relay.port}?transport=udp`,
    },
  });
  await service.waitFor((it) => it.stdout().includes("\n"), 30_000);
  ({ url } = JSON.parse(service.stdout()));
});

afterAll(async () => {
  await service.stop();
  await relay.stop();
  await slapd.remove();
});

function signIn(user: string, password: string): Promise<Response> {
  return fetch(url, { headers: { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}` } });
}

describe("examples/ldap-credentials.ts", () => {
  it("turns a password of the directory into packets through the relay", async () => {
    const response = await signIn("ann", "ann-password");
    expect(response.status).toBe(201);
    const { iceServers } = JSON.parse(await response.text());
    const [{ urls, username, credential }] = iceServers;
    expect(username).toMatch(/^\d+:ann$/);
    const port = Number(/^turn:127\.0\.0\.1:(\d+)\?/.exec(urls[0] ?? "")?.[1]);
    const client = keep(
      await UdpTurnClient.open(transportAddress("127.0.0.1", port), { username, password: credential }),
    );
    const relayed = await client.allocate();
    if (typeof relayed === "number") throw new Error(`not allocated: ${relayed}`);
    const peer = keep(await UdpPeer.open("127.0.0.1"));
    expect(await client.permit(peer.local)).toBe("success");
    client.sendTo(peer.local, Buffer.from("from ann"));
    expect(Buffer.from((await peer.receive()).bytes).toString()).toBe("from ann");
    peer.send(Buffer.from("to ann"), relayed);
    expect(Buffer.from((await client.receiveData()).bytes).toString()).toBe("to ann");
    // The relay knows the user, not the name with its timestamp.
    expect(relay.child.stderr()).toMatch(/"actor":"ann"/);
  });

  it("mints nothing for a wrong password, and says 503 while the directory is away", async () => {
    const wrong = await signIn("ann", "wrong");
    expect(wrong.status).toBe(401);
    expect(await wrong.text()).not.toContain("iceServers");
    await slapd.stop();
    try {
      expect((await signIn("nobody", "x")).status).toBe(503);
      // Signed in a moment ago: the cache knows her.
      expect((await signIn("ann", "ann-password")).status).toBe(201);
    } finally {
      await slapd.start();
    }
  });
});
