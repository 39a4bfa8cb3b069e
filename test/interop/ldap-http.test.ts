import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import {
  BasicScheme,
  CachedVerifier,
  CredentialCache,
  fromNodeRequest,
  HttpGate,
  OperationContext,
  sendRejection,
} from "@turnpike/authn";
import { LdapVerifier } from "@turnpike/authn/ldap";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BASE_DN, group, person, type Slapd, startSlapd } from "./support/slapd.ts";

let slapd: Slapd;
let server: Server;
let verifier: LdapVerifier;
let url: string;
const cache = new CredentialCache({ enabled: true });

beforeAll(async () => {
  const people = [person("ann", { password: "ann-password" }), person("bob", { password: "bob-password" })];
  slapd = await startSlapd({ ldif: [...people, group("admins", ["ann"])].join("\n") });
  verifier = new LdapVerifier({
    url: slapd.url,
    userDn: `uid={username},ou=people,${BASE_DN}`,
    groups: { baseDn: `ou=groups,${BASE_DN}` },
    roles: { admins: "admin" },
  });
  const gate = new HttpGate({
    name: "api",
    schemes: [new BasicScheme({ verifier: new CachedVerifier({ verifier, cache }) })],
  });
  server = createServer((request, response) => {
    void gate.admit(fromNodeRequest(request)).then((admission) => {
      if (admission.kind === "rejected") sendRejection(response, admission.rejection);
      if (admission.kind === "admitted") response.end(JSON.stringify(admission.context.actor));
    });
  }).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a TCP server has such an address
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
});

afterAll(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await verifier.close();
  await slapd.remove();
});

async function get(
  user: string,
  password: string,
): Promise<{ status: number; body: string; challenge: string | null }> {
  const Authorization = `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
  const response = await fetch(url, { headers: { Authorization } });
  return { status: response.status, body: await response.text(), challenge: response.headers.get("www-authenticate") };
}

describe("Basic by slapd", () => {
  it("says who it is, 401 for a no, and 503 while the server is away", async () => {
    const right = await get("ann", "ann-password");
    expect(right.status).toBe(200);
    expect(JSON.parse(right.body)).toEqual({
      kind: "user",
      id: `uid=ann,ou=people,${BASE_DN}`,
      name: "Person ann",
      roles: ["admin"],
    });
    const [wrong, unknown] = [await get("ann", "wrong"), await get("nobody", "wrong")];
    expect(wrong).toMatchObject({ status: 401, challenge: expect.stringMatching(/^Basic /u) });
    expect(unknown).toEqual(wrong);

    await cache.flush(OperationContext.internal("test"));
    await slapd.stop();
    try {
      for (const password of ["ann-password", "wrong"]) {
        expect(await get("ann", password)).toMatchObject({ status: 503, challenge: null });
      }
    } finally {
      await slapd.start();
    }
    expect(await get("ann", "ann-password")).toMatchObject({ status: 200 });
    expect(await get("bob", "wrong")).toMatchObject({ status: 401 });
  });
});
