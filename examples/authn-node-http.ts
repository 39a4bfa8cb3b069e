import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { AccessTokens, fromNodeRequest, HttpGate, MemoryAccessTokenStore, OperationContext } from "@turnpike/authn";
import { Penalties, sendRejection } from "@turnpike/authn";

const tokens = new AccessTokens({ store: new MemoryAccessTokenStore(), prefix: "tp_" });
const gate = new HttpGate({ name: "api", schemes: [tokens], penalties: new Penalties() });

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const admission = await gate.admit(fromNodeRequest(request));
  if (admission.kind === "rejected") sendRejection(response, admission.rejection);
  if (admission.kind === "admitted") response.end(`Hello ${admission.context.actor?.id}\n`);
}

const actor = { kind: "user", id: "alice", roles: [] } as const;
const { token } = await tokens.create(OperationContext.internal("first-start"), { actor, label: "first" });
const server = createServer((request, response) => void answer(request, response));
server.listen(Number(process.env["PORT"] ?? 8080), "127.0.0.1", () => {
  const address = server.address();
  const url = typeof address === "object" ? `http://127.0.0.1:${address?.port}` : "";
  console.log(JSON.stringify({ url, authorization: `Bearer ${token.reveal()}` }));
});
