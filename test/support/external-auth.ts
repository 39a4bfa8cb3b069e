import { parseTransportAddress } from "@turnpike/stun";
import { expect } from "vitest";
import type { IceServer } from "./portal.ts";
import { keep } from "./relay.ts";
import type { ServedPortal } from "./served-portal.ts";
import { UdpTurnClient } from "./udp-turn-client.ts";

/**
 * What somebody whom an external verifier knows as an administrator can do: mint and allocate by Basic, sign in, look
 * after the cache.
 */
export async function expectToServe(
  portal: ServedPortal,
  { user, password }: { readonly user: string; readonly password: string },
): Promise<void> {
  const minted = await portal.basic(user, password, "POST", "/v1/credentials", {});
  expect(minted.status).toBe(201);
  const [{ urls, username, credential }] = minted.body["iceServers"] as [Required<IceServer>];
  expect(username).toContain(`:${user}.`);
  const server = parseTransportAddress(/^turn:([\d.:]+)/.exec(urls[0]!)?.[1] ?? "");
  const client = keep(await UdpTurnClient.open(server!, { username, password: credential }));
  expect(await client.allocate()).toMatchObject({ family: 4 });

  const whoami = await portal.basic(user, password, "GET", "/v1/whoami");
  expect(whoami.body).toMatchObject({ id: user, kind: "user", roles: ["admin"], scheme: "basic" });
  const made = await portal.basic(user, password, "GET", `/v1/users/${user}`);
  expect(made.body).toMatchObject({ isExternal: true, hasPassword: false, roles: ["admin"] });

  const login = await portal.request("POST", "/v1/login", { body: { username: user, password } });
  expect(login.status).toBe(200);
  const cookie = login.headers.get("set-cookie")?.split(";")[0] ?? "";
  const session = await portal.request("GET", "/v1/whoami", { headers: { cookie } });
  expect(session.body).toMatchObject({ id: user, scheme: "session-cookie" });

  const path = "/v1/external-auth/cache";
  const cached = await portal.basic(user, password, "GET", path);
  expect(cached.body).toMatchObject({ enabled: true, expirySeconds: 30, size: 10 });
  expect(cached.body["entries"]).toBeGreaterThan(0);
  const resized = await portal.basic(user, password, "PATCH", path, { size: 5, expirySeconds: 0.5 });
  expect(resized.body).toMatchObject({ enabled: true, expirySeconds: 0.5, size: 5 });
  expect((await portal.basic(user, password, "DELETE", `${path}/${user}`)).body).toMatchObject({ fleet: "none" });
  expect((await portal.basic(user, password, "DELETE", path)).status).toBe(200);
  for (const secret of [password, credential]) expect(portal.child.output()).not.toContain(secret);
}
