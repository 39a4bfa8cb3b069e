// Sign in by Basic against LDAP, get TURN credentials: what a page fetches before it makes an RTCPeerConnection.
// Run it: LDAP_URL=… LDAP_USER_DN="uid={username},ou=people,dc=…" TURN_SECRET=… TURN_URL=turn:… npx node examples/ldap-credentials.ts
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { BasicScheme, fromNodeRequest, HttpGate, Penalties, sendRejection } from "@turnpike/authn";
import { createExternalVerifier } from "@turnpike/authn/external";
import { mintTimeLimited, toIceServers } from "@turnpike/credentials";

const { LDAP_URL = "", LDAP_USER_DN = "", TURN_SECRET = "", TURN_URL = "", PORT = "8080" } = process.env;

const { verifier } = await createExternalVerifier({
  externalAuth: { kind: "ldap", url: LDAP_URL, userDn: LDAP_USER_DN, subjectAttribute: "uid" },
  externalAuthCache: { enabled: true, expirySeconds: 30 },
});
const gate = new HttpGate({
  name: "credentials",
  schemes: [new BasicScheme({ verifier })],
  penalties: new Penalties(),
});

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const admission = await gate.admit(fromNodeRequest(request));
  if (admission.kind === "rejected") sendRejection(response, admission.rejection);
  if (admission.kind !== "admitted" || admission.context.actor === undefined) return;
  const credential = await mintTimeLimited({ secrets: [TURN_SECRET], user: admission.context.actor.id });
  response.writeHead(201, { "content-type": "application/json", "cache-control": "no-store" });
  response.end(JSON.stringify({ iceServers: toIceServers({ urls: [TURN_URL], credential }) }));
}

const server = createServer((request, response) => void answer(request, response));
server.listen(Number(PORT), "127.0.0.1", () => {
  const address = server.address();
  console.log(JSON.stringify({ url: typeof address === "object" ? `http://127.0.0.1:${address?.port}` : "" }));
});
