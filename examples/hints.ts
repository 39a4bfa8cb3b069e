// Listens and connects by a self-authenticating reference, and shows how each hint fared: npx node examples/hints.ts
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Connector, connectReference, Listener, loadIdentity, parseReference, renderStatuses } from "@turnpike/hints";

const directory = await mkdtemp(join(tmpdir(), "hints-"));
const connector = new Connector({ policy: { privateAddresses: "literal" } });

// One side: an identity kept in a file, and two ways in.
const identity = await loadIdentity({ file: join(directory, "identity.pem") });
const listener = new Listener({ gate: connector.gate, identity });
const group = listener.listen({
  specs: ["tcp:127.0.0.1:0", "wss:127.0.0.1:0/stream"],
  realm: "example.org",
  onStream: (stream) => stream.pipe(stream),
});
const { reference = "" } = await group.ready;
console.log(reference);

// The other side: whatever hint carries the right key first wins; a hint that leads nowhere costs nothing.
const { hints, keyDigest, realm } = parseReference(reference);
const { stream, statuses } = await connectReference(connector, {
  keyDigest,
  realm,
  hints: ["quic:127.0.0.1:1", ...hints],
});
console.log(renderStatuses(statuses));
stream.end("hello over a proven stream\n");
for await (const chunk of stream) process.stdout.write(String(chunk));

await group.close();
await connector.close();
await rm(directory, { recursive: true });
