import { AccessTokens, fromFastifyRequest, HttpGate, MemoryAccessTokenStore, OperationContext } from "@turnpike/authn";
import { Penalties, replyRejection } from "@turnpike/authn";
import { fastify } from "fastify";

const tokens = new AccessTokens({ store: new MemoryAccessTokenStore(), prefix: "tp_" });
const gate = new HttpGate({ name: "api", schemes: [tokens], penalties: new Penalties() });

const app = fastify();
app.get("/", async (request, reply) => {
  const admission = await gate.admit(fromFastifyRequest(request));
  if (admission.kind === "rejected") return replyRejection(reply, admission.rejection);
  if (admission.kind === "aborted") return reply.hijack();
  return `Hello ${admission.context.actor?.id}\n`;
});

const actor = { kind: "user", id: "alice", roles: [] } as const;
const { token } = await tokens.create(OperationContext.internal("first-start"), { actor, label: "first" });
const url = await app.listen({ port: Number(process.env["PORT"] ?? 8080), host: "127.0.0.1" });
console.log(JSON.stringify({ url, authorization: `Bearer ${token.reveal()}` }));
