/**
 * A credential service on plain `node:http`, and the side of a page that keeps itself supplied by it.
 * Run it: npx node examples/credentials.ts
 */
import { createServer } from "node:http";
import { mintTimeLimited, refreshIceServers, toIceServers, verifyTimeLimited } from "@turnpike/credentials";

const secrets = ["a secret that the relay has too"];
const urls = ["stun:relay.example", "turn:relay.example?transport=udp", "turns:relay.example:443?transport=tcp"];

const service = createServer((_request, response) => {
  // A real service knows its users by their session.
  void mintTimeLimited({ secrets, user: "alice", ttlSeconds: 3600 }).then((credential) => {
    const expiresAt = new Date(credential.expiresAtUnixSeconds * 1000).toISOString();
    response.writeHead(201, { "content-type": "application/json", "cache-control": "no-store" });
    response.end(JSON.stringify({ iceServers: toIceServers({ urls, credential }), expiresAt }));
  });
});
await new Promise<void>((resolve) => service.listen(0, "127.0.0.1", resolve));
const address = service.address();
if (address === null || typeof address === "string") throw new Error("The service listens on no port");

const refresher = refreshIceServers({ source: `http://127.0.0.1:${String(address.port)}/v1/credentials` });
const { iceServers, expiresAtUnixMs } = await refresher.ready;
const { username = "", credential = "" } = iceServers.find((server) => server.username !== undefined) ?? {};
const verification = await verifyTimeLimited({ username, credential, secrets });

console.log(JSON.stringify({ urls: iceServers.map((server) => server.urls), username }, undefined, 2));
console.log(`verified: ${String(verification.ok)}, ends ${new Date(expiresAtUnixMs).toISOString()}`);

refresher.stop();
service.close();
